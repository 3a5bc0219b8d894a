/** The machine's own clock, in ms: the same in all of its processes, and never set. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
