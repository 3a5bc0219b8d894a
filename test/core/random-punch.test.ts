import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import { HyperDHT } from '../../lib/core/holepunch.js'
import { quickenRandomPunches } from '../../lib/core/random-punch.js'

// biome-ignore lint/suspicious/noExplicitAny: HyperDHT has no types
const Holepuncher: any = createRequire(import.meta.url)('hyperdht/lib/holepuncher')

t.test('a node of ours tries four ports at a time, and those of others as they did', async (t) => {
  const [ours, other] = [await node(t), await node(t)]
  quickenRandomPunches(ours)
  quickenRandomPunches(ours)
  t.equal(await triesIn(ours, 5), 20)
  t.equal(await triesIn(other, 5), 0, 'HyperDHT’s own way does not come by here')
})

t.test('punches that go on at a time share the tries, and have one each', async (t) => {
  const dht = await node(t)
  quickenRandomPunches(dht)
  const inside = dht as unknown as { _randomPunches: number }
  inside._randomPunches = 2
  t.equal(await triesIn(dht, 5), 10)
  inside._randomPunches = 8
  t.equal(await triesIn(dht, 5), 5)
})

/** How many ports are tried until the puncher has paused so many times. */
async function triesIn(dht: HyperDHT, ticks: number): Promise<number> {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const session = (dht as any).session()
  const puncher = new Holepuncher(dht, session, true)
  let tries = 0
  puncher.ping = async ({ port }: { port: number }) => {
    if (port >= 1000 && port < 65_536) tries++
  }
  const { _sleeper: sleeper } = puncher
  const pause = sleeper.pause.bind(sleeper)
  sleeper.pause = (ms: number) => {
    if (--ticks === 0) puncher.punching = false
    return pause(ms)
  }
  puncher.punching = true
  await puncher._randomProbes({ host: '127.0.0.1', port: 1 })
  session.destroy()
  return tries
}

async function node(t: Test): Promise<HyperDHT> {
  const dht = new HyperDHT({ bootstrap: [], host: '127.0.0.1' })
  t.teardown(() => dht.destroy())
  await dht.bind()
  return dht
}
