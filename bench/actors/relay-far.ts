/** The far end of the plain relay. Argument: the backend's port. */
import { type AddressInfo, connect, createServer } from 'node:net'
import '../../bin/engine.js'
import { untilFinished } from '../child.js'
import { Relay } from './relay.js'

const [port = ''] = process.argv.slice(2)
const server = createServer((line) => {
  const relay = new Relay(line, (id) => {
    relay.join(
      id,
      connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true, noDelay: true })
    )
  })
})
server.listen({ port: 0, host: '127.0.0.1' }, () => {
  console.log(`port=${(server.address() as AddressInfo).port}`)
})
await untilFinished()
process.exit()
