import fc from 'fast-check'
import t from 'tap'
import { Corestore, type Hypercore } from '../../../lib/registry/log/hypercore.js'
import { type Gap, nodesBelow, prune } from '../../../lib/registry/log/prune.js'
import { secretPair } from '../../link/pair.js'
import { Testbed } from '../../testbed.js'

/** The blocks below a node of a flat tree. */
function blocksBelow(node: number): Gap {
  let width = 1
  while (((node + 1) / width) % 2 === 0) width *= 2
  return [(node + 1 - width) / 2, (node + 1 + width) / 2]
}

const gap = fc
  .tuple(fc.nat(200), fc.nat(200))
  .map(([a, b]): Gap => [Math.min(a, b), Math.max(a, b)])

t.test('a node goes with the last block that its sibling could prove, whatever went first', (t) => {
  fc.assert(
    fc.property(fc.array(gap, { minLength: 1, maxLength: 8 }), (gaps) => {
      const cleared = new Set<number>()
      const gone = new Set<number>()
      for (const [start, end] of gaps) {
        for (let block = start; block < end; block++) cleared.add(block)
        if (start === end) continue
        let [from, to] = [start, end]
        while (cleared.has(from - 1)) from--
        while (cleared.has(to)) to++
        for (const node of nodesBelow([start, end], [from, to])) gone.add(node)
      }
      for (let node = 0; node < 512; node++) {
        const [start, end] = blocksBelow(node)
        const width = end - start
        const parent = start % (2 * width) === 0 ? [start, end + width] : [start - width, end]
        let isDead = true
        for (let block = parent[0] as number; block < (parent[1] as number); block++) {
          if (!cleared.has(block)) isDead = false
        }
        if (isDead !== gone.has(node)) return false
      }
      return true
    })
  )
  t.end()
})

t.test(
  'what is left of a log comes over to another store as before, and nothing else',
  async (t) => {
    const testbed = await Testbed.make(t)
    const [here, there] = [new Corestore(await testbed.dir()), new Corestore(await testbed.dir())]
    t.teardown(() => Promise.all([here.close(), there.close()]))
    const core = here.get({ name: 'log' })
    await core.ready()
    for (let i = 0; i < 300; i++) await core.append(Buffer.from(`${i}`))
    const left = [0, 17, 18, 100, 255]
    for (const [i, block] of left.entries()) {
      await prune(core, [block + 1, left[i + 1] ?? 280])
    }
    const copy = there.get({ key: core.key })
    const { initiator, responder } = secretPair(t)
    here.replicate(initiator)
    there.replicate(responder)
    for (const block of [...left, 280, 299]) {
      t.equal((await copy.get(block, { timeout: 5000 }))?.toString(), `${block}`)
    }
    await t.rejects(copy.get(150, { timeout: 300 }))
    t.ok((await nodesOf(core)) < 120, 'about log2 of the length for each block that is left')
  }
)

async function nodesOf(core: Hypercore): Promise<number> {
  const { state } = core as unknown as {
    state: { storage: { createTreeNodeStream(options: object): AsyncIterable<unknown> } }
  }
  const { storage } = state
  let nodes = 0
  for await (const _ of storage.createTreeNodeStream({})) nodes++
  return nodes
}
