export interface RecentOptions {
  /** How many entries are kept. The oldest are forgotten first. */
  max: number
  /** How long an entry is kept, in ms. */
  ttl: number
  now?: () => number
}

/** A map whose entries expire, and whose size is bounded. */
export class Recent<V> {
  readonly #options: Required<RecentOptions>
  readonly #entries = new Map<string, { value: V; until: number }>()

  constructor({ now = () => performance.now(), ...options }: RecentOptions) {
    this.#options = { ...options, now }
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (!entry || entry.until <= this.#options.now()) return undefined
    return entry.value
  }

  set(key: string, value: V) {
    const { max, ttl, now } = this.#options
    this.#entries.delete(key)
    this.#entries.set(key, { value, until: now() + ttl })
    const [oldest] = this.#entries.keys()
    if (oldest !== undefined && this.#entries.size > max) this.#entries.delete(oldest)
  }

  delete(key: string): boolean {
    return this.#entries.delete(key)
  }
}
