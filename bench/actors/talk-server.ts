/** Echoes commands and tells events. Arguments: kind, bootstrap, registry's public key, NATS' address, folder. */
import { untilFinished } from '../child.js'
import type { Kind } from '../talk/protocols.js'
import { SERVERS } from '../talk/servers.js'

const [kind, bootstrap = '', registryPublicKey = '', nats = '', dir = ''] = process.argv.slice(2)
const at = await SERVERS[kind as Kind]({ bootstrap, registryPublicKey, nats, dir })
console.log(`at=${at}`)
await untilFinished()
process.exit()
