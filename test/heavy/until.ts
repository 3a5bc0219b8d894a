import { setTimeout } from 'node:timers/promises'
import { slowness } from '../watchdog.js'

const INTERVAL_MS = 300

/**
 * Asks again and again, until there is nothing missing any more.
 *
 * @param missing what is missing, in words; null if nothing is
 * @param timeout in ms
 * @returns how long it took, in ms
 */
export async function untilNothing(
  missing: () => Promise<string | null>,
  timeout: number
): Promise<number> {
  const beganAt = performance.now()
  for (;;) {
    const what = await missing()
    const took = performance.now() - beganAt
    if (what === null) return took
    if (took > timeout && took > timeout * slowness())
      throw new Error(`after ${Math.round(took)} ms: ${what}`)
    await setTimeout(INTERVAL_MS)
  }
}
