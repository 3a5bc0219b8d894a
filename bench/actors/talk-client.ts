/**
 * Sends commands, or hears events. Arguments: kind, where the server is, bootstrap, registry's public key, folder,
 * seconds, and how many subscribe; 0 to send commands.
 */

import { percentile } from '../statistics.js'
import { CLIENTS } from '../talk/clients.js'
import { type Kind, PAYLOAD, type Talker } from '../talk/protocols.js'
import { report } from './tcp.js'

/** In flight at a time. */
const MANY = 64
const WARM_UP_MS = 1500
/** Events that are told at a time, and how many times ahead: no subscriber is to fall behind. */
const BATCH = 250
const AHEAD = 2

const [kind, at = '', bootstrap = '', registryPublicKey = '', dir = '', ...numbers] =
  process.argv.slice(2)
const [seconds = 1, subscribers = 0] = numbers.map(Number)
const talker = await CLIENTS[kind as Kind]({ at, bootstrap, registryPublicKey, dir, subscribers })
if (subscribers > 0) await report({ rate: await hear(talker) })
else {
  await load(talker, MANY, WARM_UP_MS)
  const one = await load(talker, 1, (seconds * 1000) / 2)
  const many = await load(talker, MANY, (seconds * 1000) / 2)
  await report({ p50: percentile(one.latencies, 0.5), rate: many.rate })
}
process.exit()

/** Keeps so many in flight. */
async function load({ echo }: Talker, width: number, ms: number) {
  const latencies: number[] = []
  const since = performance.now()
  const until = since + ms
  const one = async () => {
    for (let now = performance.now(); now < until; ) {
      await echo(PAYLOAD)
      const after = performance.now()
      latencies.push(after - now)
      now = after
    }
  }
  await Promise.all(Array.from({ length: width }, one))
  return { latencies, rate: (latencies.length / (performance.now() - since)) * 1000 }
}

/** Deliveries a second. */
async function hear({ subscribe, tell }: Talker): Promise<number> {
  let heard = 0
  let expected = 0
  let onall = () => {}
  const each = BATCH * subscribers
  const onevent = () => {
    if (++heard === expected) onall()
  }
  for (let i = 0; i < subscribers; i++) await subscribe(onevent)
  const tellFor = async (ms: number) => {
    const since = performance.now()
    const before = heard
    const told: Promise<unknown>[] = []
    while (performance.now() - since < ms) {
      const all = new Promise<void>((resolve) => {
        onall = resolve
        expected = heard + each * AHEAD
      })
      for (let i = 0; i < AHEAD; i++) told.push(tell(BATCH))
      await all
    }
    await Promise.all(told)
    return ((heard - before) / (performance.now() - since)) * 1000
  }
  await tellFor(WARM_UP_MS)
  return tellFor(seconds * 1000)
}
