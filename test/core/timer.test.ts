import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { Lifecycle } from '../../lib/core/lifecycle.js'
import { startTimer } from '../../lib/core/timer.js'
import { Ledger } from '../../lib/gateway/ledger.js'
import { Traffic } from '../../lib/gateway/traffic.js'
import { GracePeriods } from '../../lib/registry/registrar/grace-periods.js'

/** Those that Node's timers would take for 1 ms. */
const LONG_MS = [2 ** 31, 30 * 86_400_000, Infinity]
/** Timers that were set first, and for less, fire first. */
const LATER_MS = 20

t.test('a time longer than timers can run is not over at once', async (t) => {
  let over = 0
  const timers = LONG_MS.map((ms) => startTimer(() => over++, ms))
  await sleep(LATER_MS)
  for (const timer of timers) clearTimeout(timer)
  t.equal(over, 0)
})

t.test('a short one is over when it says', async () => {
  await new Promise<void>((resolve) => startTimer(resolve, 1))
})

t.test('who names a long time for something gets it', async (t) => {
  for (const ms of LONG_MS) {
    const over: string[] = []
    const lifecycle = new Lifecycle({ start: async () => {}, stop: async () => {} })
    const waiting = lifecycle.waitFor(new Promise(() => {}), ms, () =>
      SeaportError.DEADLINE('late')
    )
    waiting.catch(() => over.push('a setup'))
    const periods = new GracePeriods(() => over.push('a grace period'))
    periods.give('a key', ms)
    const ledger = new Ledger(new Traffic())
    ledger.open({ httpVersion: '1.1', rawHeaders: [], headers: {}, socket: {} })
    void ledger.drained(ms).then(() => over.push('the requests that are open'))
    await sleep(LATER_MS)
    t.same(over, [], `${ms} ms`)
    periods.close()
    ledger.emit('idle')
    await lifecycle.end()
  }
})
