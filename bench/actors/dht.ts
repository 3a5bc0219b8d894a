/** The first node of a private DHT, on the address that is its argument. */
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'

const node = new BootstrapNode({ host: process.argv[2] ?? '127.0.0.1' })
await node.setup()
console.log('ready')
