// A small HTTP server, registered as helloworld@1.0.0.
//
//   node service.js <registryPublicKey> [bootstrap]

import { once } from 'node:events'
import http from 'node:http'
import { KeyPair, Service } from 'hyperseaport'

const [registryPublicKey, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] = process.argv.slice(2)

// Boilerplate: an HTTP server on a free port of this machine.
const server = http.createServer((_request, response) => response.end('Hello, World!'))
await once(server.listen(0, '127.0.0.1'), 'listening')
const { port } = server.address()

// The interesting part. A key pair made anew gives it a new address at each start; leave it out,
// and the service keeps one.
const service = Service({
  registryPublicKey,
  role: 'helloworld@1.0.0',
  port,
  keyPair: KeyPair(),
  bootstrap
})
await service.setup()

process.once('SIGINT', async () => {
  await service.destroy()
  server.close()
})
console.log(`helloworld@1.0.0 is registered as ${service.servicePublicKey}`)
