// Asks any helloworld 1, wherever it runs, and ends.
//
//   node consumer.js <registryPublicKey> [bootstrap]

import { Consumer } from 'hyperseaport'

const [registryPublicKey, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] = process.argv.slice(2)

// All the roles that we need; the entries come in the same order.
const consumer = Consumer(['helloworld@1.x'], { registryPublicKey, bootstrap })
const [helloworld] = await consumer.setup()

// By a local port, as any HTTP client would…
const response = await fetch(helloworld.url)
console.log(await response.text())

// …or by a stream of its own, without one.
const stream = await helloworld.connect()
stream.end('GET / HTTP/1.0\r\n\r\n')
for await (const chunk of stream) process.stdout.write(chunk)
console.log()

await consumer.destroy()
