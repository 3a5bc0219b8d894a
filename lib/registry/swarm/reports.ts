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
/** Offenders remembered, so that each is reported once. */
const MAX_OFFENDERS = 1024

/** Tells of those who break the rules: each once, and a flood of them in one line. */
export class Reports {
  readonly #onreport: ReportsOptions['onreport']
  readonly #limit: number
  readonly #window: number
  readonly #offenders = new Set<string>()
  readonly #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor({ onreport, limit = LIMIT, window = WINDOW_MS }: ReportsOptions) {
    this.#onreport = onreport
    this.#limit = limit
    this.#window = window
  }

  /** @param offender its key in hex */
  add(offender: string, { code, text }: SeaportError) {
    const id = `${offender} ${code}`
    if (this.#offenders.has(id)) return
    if (this.#offenders.size >= MAX_OFFENDERS) this.#offenders.clear()
    this.#offenders.add(id)

    const count = (this.#counts.get(code) ?? 0) + 1
    this.#counts.set(code, count)
    this.#timer ??= setTimeout(() => this.#summarize(), this.#window).unref()
    if (count <= this.#limit) {
      this.#onreport(SeaportError.remote(code, `${text} (${offender.slice(0, 8)}…), dropped`))
    }
  }

  close() {
    if (this.#timer) clearTimeout(this.#timer)
  }

  #summarize() {
    this.#timer = null
    for (const [code, count] of this.#counts) {
      const more = count - this.#limit
      if (more > 0) this.#onreport(SeaportError.remote(code, `${more} more of these were dropped`))
    }
    this.#counts.clear()
  }
}
