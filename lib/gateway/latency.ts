/** The upper bound of each bucket is this many times that of the one before. */
const GROWTH = 1.15
/** The upper bound of the first bucket, in ms. */
const SMALLEST_MS = 0.1
const BUCKETS = 100

/** The index of the bucket for a time in ms. All histograms have the same buckets. */
export function bucketOf(ms: number): number {
  const bucket = Math.ceil(Math.log(Math.max(ms, SMALLEST_MS) / SMALLEST_MS) / Math.log(GROWTH))
  return Math.min(bucket, BUCKETS - 1)
}

/** A histogram of durations in growing buckets. It takes bounded memory, and its percentiles are accurate to 15 %. */
export class Latency {
  readonly #counts = new Uint32Array(BUCKETS)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** @param bucket by `bucketOf` */
  record(bucket: number) {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#count++
  }

  /** The time in ms that this share of all measured times stayed below; 0 if nothing was measured. */
  percentile(share: number): number {
    let missing = Math.ceil(this.#count * share)
    if (missing === 0) return 0
    for (const [index, count] of this.#counts.entries()) {
      missing -= count
      if (missing <= 0) return SMALLEST_MS * GROWTH ** index
    }
    return SMALLEST_MS * GROWTH ** BUCKETS
  }

  reset() {
    this.#counts.fill(0)
    this.#count = 0
  }
}
