import { Abort, type Signal } from '../core/abort.js'
import type { SeaportError } from '../core/errors.js'
import type { LinkStream } from './stream.js'

/** What an incoming stream needs of the link's streams. */
export interface Answering {
  accept(incoming: IncomingStream): LinkStream
  refuse(incoming: IncomingStream, error: SeaportError): void
}

/** A stream that the other side asks for. It waits until it is accepted or refused, once. */
export class IncomingStream {
  readonly id: number
  /** What the opener wants it for. */
  readonly purpose: string
  /** What may be sent to the opener. */
  readonly credit: number
  readonly #streams: Answering
  #abort: Abort | null = null
  #reason: SeaportError | null = null
  #isAnswered = false

  constructor(streams: Answering, id: number, purpose: string, credit: number) {
    this.#streams = streams
    this.id = id
    this.purpose = purpose
    this.credit = credit
  }

  /** Whether it was accepted or refused, or has been given up. */
  get isAnswered(): boolean {
    return this.#isAnswered
  }

  /** Aborted when the opener gives up, or the link is lost. */
  get signal(): Signal {
    this.#abort ??= new Abort()
    if (this.#reason) this.#abort.abort(this.#reason)
    return this.#abort
  }

  /** Tells the opener that the stream is connected; it sends nothing before that. Returns null if the opener gave up. */
  accept(): LinkStream | null {
    if (this.#isAnswered) return null
    this.#isAnswered = true
    return this.#streams.accept(this)
  }

  refuse(error: SeaportError) {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.#streams.refuse(this, error)
  }

  /** Tells whoever is to answer that the opener is gone. Only `Streams` calls it. */
  abort(reason: SeaportError) {
    this.#isAnswered = true
    this.#reason = reason
    this.#abort?.abort(reason)
  }
}
