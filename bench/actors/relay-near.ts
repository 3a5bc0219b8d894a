/** The near end of the plain relay. Argument: the far end's port. */
import { type AddressInfo, connect, createServer } from 'node:net'
import '../../bin/engine.js'
import { untilFinished } from '../child.js'
import { Relay } from './relay.js'

const [port = ''] = process.argv.slice(2)
let lastId = 0
const relay = new Relay(connect(Number(port), '127.0.0.1'), () => {})
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  relay.open(++lastId, socket)
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`port=${(server.address() as AddressInfo).port}`)
})
await untilFinished()
process.exit()
