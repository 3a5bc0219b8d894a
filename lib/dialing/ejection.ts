export interface EjectionOptions {
  /** In ms. */
  now?: (() => number) | undefined
  /** Below 1. */
  random?: (() => number) | undefined
}

/** One failure may be bad luck. */
const FAILURES_TO_EJECT = 3
const FIRST_EJECTION_MS = 1000
const MAX_EJECTION_MS = 30_000
/**
 * Each ejection is longer or shorter by up to this part, so that consumers which ejected an instance together do not
 * come back together.
 */
const JITTER = 0.2

/**
 * Whether an instance is left out because it failed here several times in a row. The first ejection lasts a second,
 * and each further one twice as long, up to 30 s. When its time is over one dial tries the instance, and the outcome
 * decides whether it is ejected again. Each `begin` is followed by one of `succeeded`, `failed` and `abandoned`.
 */
export class Ejection {
  readonly #now: () => number
  readonly #random: () => number
  #failures = 0
  #ejections = 0
  #until = -Infinity
  #isProbed = false

  constructor({ now = () => performance.now(), random = Math.random }: EjectionOptions = {}) {
    this.#now = now
    this.#random = random
  }

  /** Whether the instance is to be tried only after all others. */
  get isEjected(): boolean {
    return this.#ejections > 0 && (this.#isProbed || !this.#isDue)
  }

  /** An attempt begins. */
  begin() {
    if (this.#ejections > 0 && this.#isDue) this.#isProbed = true
  }

  succeeded() {
    this.#failures = 0
    this.#ejections = 0
    this.#isProbed = false
  }

  failed() {
    this.#failures++
    // A failure that is heard of while the instance is ejected already belongs to the same trouble.
    if (!this.#isDue) return
    if (this.#ejections > 0 || this.#failures >= FAILURES_TO_EJECT) this.#eject()
  }

  /** The attempt ended, and its end says nothing about the instance. */
  abandoned() {
    this.#isProbed = false
  }

  get #isDue(): boolean {
    return this.#now() >= this.#until
  }

  #eject() {
    const time = Math.min(FIRST_EJECTION_MS * 2 ** this.#ejections, MAX_EJECTION_MS)
    const jitter = 1 - JITTER + 2 * JITTER * this.#random()
    this.#until = this.#now() + time * jitter
    this.#ejections++
    this.#isProbed = false
  }
}
