import { setTimeout } from 'node:timers/promises'

/** After what time something that a host could not do is tried again, in ms. */
export const RETRY_MS = 2000

/** The time until then. It keeps no process alive. */
export function retryPause(): Promise<void> {
  return setTimeout(RETRY_MS, undefined, { ref: false })
}
