// Writes one letter, and ends when it was delivered, or when somebody else keeps it. Without a letter it waits for what
// becomes of those that it wrote before.
//
//   node writer.js <registryPublicKey> <folder> [<key of the reader> <text>]

import { Peer } from 'hyperseaport'

const [registryPublicKey, dir, to, text] = process.argv.slice(2)
const bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP

const writer = Peer({ registryPublicKey, bootstrap, dir, name: 'writer' })
const heard = new Promise((resolve) => {
  writer.on('receipt', async ({ id, status, by }) => {
    console.log(`${id.slice(0, 8)} ${status} by ${by ? by.slice(0, 8) : 'nobody yet'}`)
    if (to && by) resolve()
    else if ((await writer.outbox()).length === 0) resolve()
  })
})
await writer.setup()
if (to) await writer.send(to, text)
if ((await writer.outbox()).length > 0) await heard
await writer.destroy()
