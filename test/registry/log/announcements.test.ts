import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Protomux } from '../../../lib/core/holepunch.js'
import { boundAnnouncements } from '../../../lib/registry/log/announcements.js'
import { Corestore, type Hypercore } from '../../../lib/registry/log/hypercore.js'
import { secretPair } from '../../link/pair.js'

interface Teller {
  wireRange: { send(range: { drop: boolean; start: number; length: number }): void }
  wireBitfield: { send(bits: { start: number; bitfield: Uint32Array }): void }
}

interface Told {
  remoteBitfield: { get(index: number): boolean }
}

/** A core, and how somebody who copies it tells of what it has. */
async function copied(t: Test) {
  const dir = t.testdir()
  const [here, there] = [new Corestore(join(dir, 'here')), new Corestore(join(dir, 'there'))]
  t.teardown(() => Promise.all([here.close(), there.close()]))
  const core = here.get({ name: 'told' }) as Hypercore & { peers: Told[] }
  await core.ready()
  await core.append(Buffer.from('first'))
  const copy = there.get({ key: core.key }) as Hypercore & { peers: Teller[] }
  const { initiator: near, responder: far } = secretPair(t)
  const spent: number[] = []
  const mux = Protomux.from(near)
  boundAnnouncements(mux, (messages) => void spent.push(messages))
  here.replicate(mux)
  there.replicate(far)
  if (core.peers.length === 0) await once(core, 'peer-add')
  await copy.ready()
  if (copy.peers.length === 0) await once(copy, 'peer-add')
  const [told] = core.peers
  const [teller] = copy.peers
  if (!told || !teller) throw new Error('nobody copies it')
  return { core, copy, told, teller, spent }
}

t.test(
  'what a peer says of blocks that nobody can have takes neither time nor memory',
  async (t) => {
    const { core, copy, told, teller } = await copied(t)
    const { wireRange, wireBitfield } = teller
    wireRange.send({ drop: false, start: 1, length: 2 ** 52 })
    wireRange.send({ drop: true, start: 1, length: 2 ** 52 })
    wireRange.send({ drop: false, start: 2 ** 52, length: 1 })
    wireBitfield.send({ start: 2 ** 52, bitfield: new Uint32Array(1024).fill(0xffffffff) })
    for (let i = 2; i < 100; i++) wireRange.send({ drop: false, start: 2 ** 21 * i, length: 1 })
    wireRange.send({ drop: false, start: 3, length: 1 })
    // The core is still given to whoever said all this.
    await core.append(Buffer.from('second'))
    t.equal(String(await copy.get(1)), 'second')
    t.ok(told.remoteBitfield.get(3))
    t.notOk(told.remoteBitfield.get(2 ** 21 * 2))
  }
)

t.test('what a peer says of many blocks counts for as many messages as it costs', async (t) => {
  const { core, copy, teller, spent } = await copied(t)
  teller.wireRange.send({ drop: false, start: 1, length: 1 })
  teller.wireRange.send({ drop: false, start: 1, length: 10 * 1024 })
  teller.wireBitfield.send({ start: 0, bitfield: new Uint32Array(1024) })
  teller.wireRange.send({ drop: false, start: 1, length: 2 ** 52 })
  await core.append(Buffer.from('second'))
  await copy.get(1)
  const [one, ten, page, all = 0] = spent
  t.strictSame([one, ten, page], [0, 10, 32])
  t.ok(all > 2000)
})
