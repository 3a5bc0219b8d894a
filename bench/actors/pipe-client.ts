/** The near end of the bare pipe: a DHT connection for each TCP connection. Arguments: bootstrap, key. */
import { type AddressInfo, createServer } from 'node:net'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { HyperDHT } from '../../lib/core/holepunch.js'
import { parseKey } from '../../lib/core/keys.js'
import { untilFinished } from '../child.js'
import { pipe } from './pipe.js'

const [bootstrap = '', key = ''] = process.argv.slice(2)
const dht = new HyperDHT({
  bootstrap: parseBootstrap(bootstrap),
  host: '127.0.0.1',
  firewalled: false
})
await dht.fullyBootstrapped()
const remote = parseKey(key, 'key of the pipe')
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  pipe(socket, dht.connect(remote))
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`port=${(server.address() as AddressInfo).port}`)
})
await untilFinished()
process.exit()
