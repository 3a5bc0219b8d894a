// Prints the letters that come. Its key is kept in the folder, so it has the same one each time.
//
//   node reader.js <registryPublicKey> <folder>

import { Peer } from 'hyperseaport'

const [registryPublicKey, dir] = process.argv.slice(2)
const bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP

const reader = Peer({ registryPublicKey, bootstrap, dir, name: 'reader' })
reader.on('message', ({ from, body }) => console.log(`${from.slice(0, 8)} wrote: ${body}`))
await reader.setup()

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reader.destroy())
console.log(`reader ${reader.key}`)
