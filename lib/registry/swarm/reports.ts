import { SeaportError } from '../../core/errors.js'

export interface ReportsOptions {
  onreport: (notice: SeaportError) => void
  /** Reports of one code in one window; what is more is only counted. */
  limit?: number
  /** In ms. */
  window?: number
}

const LIMIT = 5
const WINDOW_MS = 60_000
/** Peers remembered, so that each is reported once. */
const MAX_PEERS = 1024

/**
 * Tells what other participants did or said that its user should know: of each once, and of a flood of them in one
 * line. This is the one place that limits how often a peer is spoken of. Codes that a peer makes up are one code,
 * because `SeaportError` reads all that it does not know as UNKNOWN_CODE.
 */
export class Reports {
  readonly #onreport: ReportsOptions['onreport']
  readonly #limit: number
  readonly #window: number
  readonly #peers = new Set<string>()
  readonly #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor({ onreport, limit = LIMIT, window = WINDOW_MS }: ReportsOptions) {
    this.#onreport = onreport
    this.#limit = limit
    this.#window = window
  }

  /**
   * @param peer its key in hex
   * @param then what was done about it
   */
  add(peer: string, { code, text }: SeaportError, then = '') {
    const id = `${peer} ${code}`
    if (this.#peers.has(id)) return
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear()
    this.#peers.add(id)

    const count = (this.#counts.get(code) ?? 0) + 1
    this.#counts.set(code, count)
    this.#timer ??= setTimeout(() => this.#summarize(), this.#window).unref()
    if (count > this.#limit) return
    this.#onreport(SeaportError.remote(code, `${text} (${peer.slice(0, 8)}…)${then}`))
  }

  close() {
    if (this.#timer) clearTimeout(this.#timer)
  }

  #summarize() {
    this.#timer = null
    for (const [code, count] of this.#counts) {
      const more = count - this.#limit
      if (more > 0)
        this.#onreport(SeaportError.remote(code, `${more} more of these, of other peers`))
    }
    this.#counts.clear()
  }
}
