import type { DialedInstance } from '../dialing/instance-stats.js'
import type { Caller } from './caller.js'

/**
 * The right to make one call on a conversation with an instance, as a dialer gives it. Whoever has it says how the call
 * went, which counts for or against the instance when others are dialed.
 */
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

  /** Begins to count a call for which nothing was dialed. */
  begin() {
    this.#isCounted = true
    this.stat.load.inFlight++
    this.stat.ejection.begin()
  }

  /** Called by the dialer when another attempt was quicker. */
  destroy() {
    this.#release()
  }

  whenUnused(callback: () => void) {
    this.#onunused = callback
  }

  /** The call was answered, be it with an error. */
  succeeded() {
    this.stat.ejection.succeeded()
    this.#release()
  }

  /** The link was lost, or nothing was heard from the instance meanwhile. */
  failed() {
    this.stat.ejection.failed()
    this.#release()
  }

  /** The sender gave up, which is no fault of the instance. */
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
