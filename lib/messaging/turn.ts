import type { DialedInstance } from '../dialing/instance-stats.js'
import type { Caller } from './caller.js'

/** One call's share of a conversation, as a dialer lends it. */
export class Turn {
  readonly caller: Caller
  readonly stat: DialedInstance
  readonly #beganAt = performance.now()
  #onunused: (() => void) | null = null
  #isCounted = false

  constructor(caller: Caller, stat: DialedInstance) {
    this.caller = caller
    this.stat = stat
  }

  /** It was not dialed, and so is not counted yet. */
  begin() {
    this.#isCounted = true
    this.stat.load.inFlight++
    this.stat.ejection.begin()
  }

  /** A dialer's word that another one was quicker. */
  destroy() {
    this.#release()
  }

  whenUnused(callback: () => void) {
    this.#onunused = callback
  }

  /** It is answered, by whatever. */
  succeeded() {
    this.stat.ejection.succeeded()
    this.#release()
  }

  /** The link was lost, or nothing was heard of the instance meanwhile. */
  failed() {
    this.stat.ejection.failed()
    this.#release()
  }

  /** Whoever sent it gave up, and the instance is not to blame. */
  abandoned() {
    if (this.caller.hasHeardSince(this.#beganAt)) this.stat.ejection.abandoned()
    else this.stat.ejection.failed()
    this.#release()
  }

  #release() {
    if (this.#isCounted) this.stat.load.inFlight--
    this.#isCounted = false
    this.#onunused?.()
    this.#onunused = null
  }
}
