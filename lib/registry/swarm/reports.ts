import { SeaportError } from '../../core/errors.js'

export interface ReportsOptions {
  onreport: (notice: SeaportError) => void
  /** Reports of one code in one window; what is more is only counted. */
  limit?: number
  /** Codes that are told apart in one window; a peer may make up as many as it likes. */
  codes?: number
  /** In ms. */
  window?: number
}

const LIMIT = 5
const CODES = 10
/** Stands for the codes that are too many. */
const OTHER_CODES = 'BAD_MESSAGE'
const WINDOW_MS = 60_000
/** Peers remembered, so that each is reported once. */
const MAX_PEERS = 1024

/**
 * Tells what other participants did or said that its user should know: of each once, and of a flood of them in one
 * line. This is the one place that limits how often a peer is spoken of.
 */
export class Reports {
  readonly #onreport: ReportsOptions['onreport']
  readonly #limit: number
  readonly #codes: number
  readonly #window: number
  readonly #peers = new Set<string>()
  readonly #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor({ onreport, limit = LIMIT, codes = CODES, window = WINDOW_MS }: ReportsOptions) {
    this.#onreport = onreport
    this.#limit = limit
    this.#codes = codes
    this.#window = window
  }

  /**
   * @param peer its key in hex
   * @param then what was done about it
   */
  add(peer: string, { code, text }: SeaportError, then = '') {
    const counted = this.#counts.has(code) || this.#counts.size < this.#codes ? code : OTHER_CODES
    const id = `${peer} ${counted}`
    if (this.#peers.has(id)) return
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear()
    this.#peers.add(id)

    const count = (this.#counts.get(counted) ?? 0) + 1
    this.#counts.set(counted, count)
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
