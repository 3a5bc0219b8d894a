import { SeaportError } from '../core/errors.js'
import { LastingStream, type LastingStreamOptions } from '../link/lasting-stream.js'
import type { LinkStream } from '../link/stream.js'
import type { Body } from './body.js'
import { Conversation, EVENTS } from './conversation.js'
import { type Cursor, EVENT, FAILURE, type Frame, MISSED, SUBSCRIBE, SUBSCRIBED } from './frames.js'
import { isName } from './names.js'

/** An event as it was received. */
export interface HeardEvent extends Cursor {
  name: string
  body: Body
  /** How many events of wanted types were lost before it. */
  missed: number
}

export interface SubscriptionOptions
  extends Pick<LastingStreamOptions, 'pool' | 'remotePublicKey' | 'backoffs'> {
  /** Where to go on; null to begin with what comes next. */
  after: Cursor | null
  types: () => string[]
  onevent: (event: HeardEvent) => void
  /** The instance delivers events from now on. */
  onsubscribed: () => void
  /** The instance does not let us hear its events. It is asked again later. */
  ondenied: (reason: SeaportError) => void
}

/**
 * The events of one instance, in order and none twice, over whichever links and paths lead to it in the course of time.
 */
export class Subscription {
  readonly #options: SubscriptionOptions
  readonly #lasting: LastingStream
  #conversation: Conversation | null = null
  #cursor: Cursor | null
  /** Whether what is missed from now on counts. */
  #hasBegun: boolean
  #missed = 0

  constructor(options: SubscriptionOptions) {
    this.#options = options
    this.#cursor = options.after
    this.#hasBegun = options.after !== null && options.after.epoch > 0
    const { pool, remotePublicKey, backoffs } = options
    this.#lasting = new LastingStream({ pool, remotePublicKey, purpose: EVENTS, backoffs })
    this.#lasting.on('stream', (stream) => this.#onstream(stream))
    this.#lasting.on('failed', (reason) => this.#onfailed(reason))
  }

  /** How far the instance was heard; null if it was not. */
  get cursor(): Cursor | null {
    return this.#cursor
  }

  open() {
    this.#lasting.open()
  }

  /** Asks for the types that are wanted now. */
  update() {
    this.#conversation?.send({ type: SUBSCRIBE, after: null, types: this.#options.types() })
  }

  /** Called when the instance leaves. Listens until it has ended, and not again. */
  finish(onended: () => void, timeout?: number) {
    this.#lasting.once('lost', onended)
    this.#lasting.finish(onended, timeout)
    if (!this.#lasting.stream) onended()
  }

  close() {
    this.#conversation = null
    this.#lasting.close()
  }

  #onstream(stream: LinkStream) {
    const conversation: Conversation = new Conversation(stream, {
      onframe: (frame) => this.#take(frame, conversation),
      onend: () => conversation.end(),
      onclose: () => {}
    })
    this.#conversation = conversation
    this.#missed = 0
    conversation.start()
    conversation.send({ type: SUBSCRIBE, after: this.#cursor, types: this.#options.types() })
  }

  #take(frame: Frame, from: Conversation) {
    const isCurrent = from === this.#conversation
    switch (frame.type) {
      case SUBSCRIBED:
        return isCurrent ? this.#onsubscribed(frame) : undefined
      case MISSED:
        // Events that were lost on a stream which was left are asked for again on the next one, so they are not
        // counted. Nor are those that an instance had dropped before it was first heard.
        if (isCurrent && this.#hasBegun) this.#missed += frame.count
        return
      case EVENT:
        return this.#onevent(frame, isCurrent)
      case FAILURE:
        return this.#options.ondenied(SeaportError.remote(frame.code, frame.text))
      default:
        throw SeaportError.BAD_MESSAGE(`a frame of type ${frame.type} among events`)
    }
  }

  #onsubscribed({ epoch, seq }: Cursor) {
    // Who begins with what comes next has heard all until now.
    if (this.#cursor === null) this.#hasBegun = true
    this.#cursor = { epoch, seq }
    this.#options.onsubscribed()
  }

  #onevent({ seq, name, body }: Extract<Frame, { type: typeof EVENT }>, isCurrent: boolean) {
    const cursor = this.#cursor
    // Events of a stream that was left are dropped: the present stream brings them as well, in order.
    if (!cursor || seq <= cursor.seq || !isCurrent) return
    cursor.seq = seq
    // A type ends up in terminals, and in the lines of event streams.
    if (!isName(name)) return
    this.#hasBegun = true
    const missed = this.#missed
    this.#missed = 0
    this.#options.onevent({ name, body, epoch: cursor.epoch, seq, missed })
  }

  #onfailed(reason: SeaportError) {
    if (reason.code === 'NOT_GRANTED' || reason.code === 'NOT_ALLOWED') {
      this.#options.ondenied(reason)
    }
  }
}
