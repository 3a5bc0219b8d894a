import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { type Inherited, inherited } from './call-context.js'
import { DEADLINES, type Timed, type Waiting } from './deadlines.js'
import { checkMeta, type Meta } from './meta.js'

export interface LimitOptions {
  /**
   * How long to wait for the answer, in ms. A command that a handler sends has no more time than the handler's own
   * caller waits; once that caller has its answer, it does not count. Default: 10 s.
   */
  timeout?: number | undefined
  /** Gives up when it is aborted. The handler's own signal is then aborted, too. */
  signal?: AbortSignal | undefined
  /** Data that goes along with the call. */
  meta?: Meta | undefined
}

const TIMEOUT_MS = 10_000
/** The longest delay that Node's timers accept. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** What may end a command before it is answered: its own timeout, that of the handler it is sent in, and signals. */
export class Limits implements Timed {
  readonly deadline: number
  readonly meta: Meta
  readonly #timeout: number
  readonly #signals: readonly Signal[]
  #waiting: Waiting | null = null
  #onover: ((reason: SeaportError) => void) | null = null

  /** @throws USAGE */
  constructor({ timeout = TIMEOUT_MS, signal, meta }: LimitOptions) {
    if (!(timeout > 0)) {
      throw SeaportError.USAGE(`a timeout is a number of ms above 0, not ${timeout}`).withExecuted(
        'no'
      )
    }
    const store = inherited.getStore()
    const outer = store?.isAnswered ? undefined : store
    const now = performance.now()
    const own = now + Math.min(timeout, MAX_TIMEOUT_MS)
    this.deadline = outer ? Math.min(own, outer.deadline) : own
    this.#timeout = Math.round(this.deadline - now)
    this.meta = meta ? checkMeta({ ...store?.meta, ...meta }) : (store?.meta ?? NO_META)
    this.#signals = signal || outer ? signalsOf(signal, outer) : NO_SIGNALS
  }

  get isOver(): boolean {
    return this.#signals.some(({ aborted }) => aborted)
  }

  /** The error that a command ends with when one of these has ended it. */
  get reason(): SeaportError {
    const reason = this.#signals.find((signal) => signal.aborted)?.reason
    const isLate = reason instanceof SeaportError && reason.code === 'DEADLINE'
    return isLate ? reason : SeaportError.CANCELLED('whoever sent it gave up', reason)
  }

  watch(onover: (reason: SeaportError) => void) {
    this.#onover = onover
    for (const signal of this.#signals) {
      if (signal.aborted) queueMicrotask(this.#onabort)
      else signal.addEventListener('abort', this.#onabort, { once: true })
    }
    this.#waiting = DEADLINES.start(this)
  }

  stop() {
    if (this.#waiting) DEADLINES.stop(this.#waiting)
    this.#onover = null
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onabort)
  }

  onlate() {
    this.#onover?.(SeaportError.DEADLINE(`no answer came within ${this.#timeout} ms`))
  }

  readonly #onabort = () => this.#onover?.(this.reason)
}

const NO_META: Meta = Object.freeze({})
const NO_SIGNALS: readonly Signal[] = []

function signalsOf(signal: AbortSignal | undefined, outer: Inherited | undefined): Signal[] {
  return [signal, outer?.signal].filter((one) => one !== undefined)
}
