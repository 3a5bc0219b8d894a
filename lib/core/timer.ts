/** The longest time that a timer of Node's can run, in ms: 24.8 days. One that is set for longer fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Calls back after a time that a user has named. What is longer than a timer can run is cut to that.
 *
 * @param ms Infinity, too
 */
export function startTimer(callback: () => void, ms: number): NodeJS.Timeout {
  return setTimeout(callback, Math.min(ms, MAX_TIMER_MS))
}
