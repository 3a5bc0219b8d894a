/**
 * Takes the time at which instances come and go, as this process sees them. Arguments: bootstrap,
 * registry's public key, folder. Says `watching`; reports when stdin ends.
 */
import { Consumer } from '../../lib/index.js'
import { untilFinished } from '../child.js'
import { monotonic } from './monotonic.js'
import { report } from './tcp.js'

const [bootstrap = '', registryPublicKey = '', dir = ''] = process.argv.slice(2)
const consumer = Consumer([], { registryPublicKey, bootstrap, dir })
await consumer.setup()
const seen: { key: string; change: string; at: number }[] = []
consumer.watch((change, { servicePublicKey }) => {
  seen.push({ key: servicePublicKey, change, at: monotonic() })
})
console.log('watching')
await untilFinished()
await report(seen)
process.exit()
