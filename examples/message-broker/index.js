// A message broker for browsers, on this machine alone: a registry, a service and a gateway in one process.
//
//   node index.js                 then open what it prints in two tabs
//
// Its port is DMB_PORT. There is no Redis: what clients missed is kept by the service.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BootstrapNode, KeyPair, Registry, Service, Web } from 'hyperseaport'

const port = Number(process.env.DMB_PORT ?? 8082)
for (const name of ['REDIS_HOST', 'REDIS_PORT']) {
  if (process.env[name]) console.log(`${name} is not needed: there is nothing to connect to`)
}

const host = '127.0.0.1'
const dir = await mkdtemp(join(tmpdir(), 'message-broker-'))
const nodes = new BootstrapNode({ host, port: 0, nodes: 3 })
await nodes.setup()
const bootstrap = nodes.address
const seed = KeyPair().secretKey.subarray(0, 32)
const registry = Registry({ seed, bootstrap, host, dir: join(dir, 'registry'), private: false })
await registry.setup()
const { registryPublicKey } = registry

const page = await readFile(new URL('index.html', import.meta.url))
const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page)
})
const options = { registryPublicKey, bootstrap, host }
const broker = Service({ ...options, role: 'broker@1.0.0', server, dir: join(dir, 'service') })

broker.clients.on('connect', ({ token }) => {
  if (typeof token !== 'string' || token === '') throw new Error('who are you?')
  return { id: token }
})
// What a client says to the service goes to all, or to one.
broker.clients.on('message', (data, { id }, type) => {
  if (type === 'direct') return broker.clients.direct(data.to, 'direct', { from: id, ...data })
  broker.clients.broadcast('broadcast', { from: id, ...data })
})
await broker.setup()

const gateway = Web({ ...options, port, dashboard: false, dir: join(dir, 'gateway') })
await gateway.setup()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await gateway.destroy()
    await broker.destroy()
    await registry.destroy()
    await nodes.destroy()
    await rm(dir, { recursive: true })
  })
}
console.log(`the broker is open at ${gateway.url}role/broker@1.x/`)
