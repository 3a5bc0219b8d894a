import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Testbed } from '../../testbed.js'

const REPLICAS = 10
const WANTED = 2
/** Replicas without a registrar search four times in it. */
const SEARCHING_MS = 5000

t.test('replicas that search on for a registrar do not all connect to each other', async (t) => {
  const testbed = await Testbed.make(t)
  const replicas = await Promise.all(
    Array.from({ length: REPLICAS }, () => testbed.replica({ replicaPeers: WANTED }))
  )
  await setTimeout(SEARCHING_MS)
  const peers = replicas.map(({ peering }) => peering.peers.size)
  t.ok(
    peers.every((count) => count > 0),
    `nobody is alone: ${peers}`
  )
  // Each looked for two, and a few were under way when it looked again; all with all would be 90.
  const ends = peers.reduce((sum, count) => sum + count)
  t.ok(ends < 2 * REPLICAS * (WANTED + 1), `${ends} ends of connections`)
})
