/** The far end of the bare pipe: a backend behind a DHT server. Arguments: bootstrap, backend's port. */
import { connect } from 'node:net'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { HyperDHT } from '../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { untilFinished } from '../child.js'
import { pipe } from './pipe.js'

const [bootstrap = '', port = ''] = process.argv.slice(2)
const dht = new HyperDHT({
  bootstrap: parseBootstrap(bootstrap),
  host: '127.0.0.1',
  // Spares it the hole punching that nobody needs here, as hyperseaport spares itself.
  firewalled: false
})
const keyPair = KeyPair()
const server = dht.createServer({}, (connection) => {
  pipe(
    connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true, noDelay: true }),
    connection
  )
})
await server.listen(keyPair)
console.log(`key=${toHex(keyPair.publicKey)}`)
await untilFinished()
process.exit()
