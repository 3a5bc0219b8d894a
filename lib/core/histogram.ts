/** Where the buckets end, in seconds: from what a LAN takes to what a person waits for. */
const BOUNDS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** How long things took since the start, as Prometheus counts it. */
export class Histogram {
  /** What fell into each bucket, and above all of them. */
  readonly #counts = new Float64Array(BOUNDS_S.length + 1)
  /** In seconds. */
  sum = 0
  count = 0

  /** @param ms how long one took */
  observe(ms: number) {
    const seconds = ms / 1000
    let bucket = 0
    while (bucket < BOUNDS_S.length && seconds > (BOUNDS_S[bucket] as number)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.sum += seconds
    this.count++
  }

  /** How many took at most so many seconds; the last bound is infinite. */
  buckets(): [bound: number, count: number][] {
    let below = 0
    return [...BOUNDS_S, Infinity].map((bound, i) => {
      below += this.#counts[i] ?? 0
      return [bound, below]
    })
  }
}
