// Passes letters on between others, and keeps them, sealed, for who is away.
//
//   node relay.js <registryPublicKey> <folder>

import { Peer } from 'hyperseaport'

const [registryPublicKey, dir] = process.argv.slice(2)
const bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP

const relay = Peer({ registryPublicKey, bootstrap, dir, name: 'relay', store: 64 * 1024 * 1024 })
await relay.setup()

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => relay.destroy())
console.log(`relay ${relay.key}`)
