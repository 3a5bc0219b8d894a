import { SeaportError } from '../core/errors.js'
import { printable } from '../core/printable.js'
import { IdTable } from '../link/id-table.js'
import type { LinkStream } from '../link/stream.js'
import type { Body } from './body.js'
import type { HeldBody } from './body-memory.js'
import { Conversation } from './conversation.js'
import {
  ANSWER,
  CALL,
  CANCEL,
  EMIT,
  FAILURE,
  type Failure,
  FETCH,
  type Frame,
  ITEM,
  LEAVING,
  MAX_ID,
  PARKED,
  QUEUED,
  STARTED
} from './frames.js'
import type { Meta } from './meta.js'

/** A command as it is sent to an instance. */
export interface Outgoing {
  name: string
  body: Body
  meta: Meta
  /** When the caller gives up, by `performance.now()`. */
  deadline: number
}

/** Receives what becomes of a call. Exactly one of these is called, once; before that `onitem` any number of times. */
export interface Answered {
  onanswer(body: Body): void
  onfailure(error: SeaportError): void
  /** The answer is too large for the conversation. It can be fetched by this token. */
  onparked?(token: Buffer): void
  onitem?(body: Body): void
}

/** A call that was sent and is not answered yet. */
class Pending {
  readonly id: number
  readonly answered: Answered
  /** The call waits in the instance's queue, so it may end without having been executed. */
  isQueued = false
  /** Why the caller has given up; null if it has not. */
  cancelled: SeaportError | null = null

  constructor(id: number, answered: Answered) {
    this.id = id
    this.answered = answered
  }
}

export interface CallerOptions {
  /** The largest frame, in bytes. Default: that of a conversation. */
  maxFrame?: number | undefined
  /** Counts the bytes of large answers. */
  held?: HeldBody | undefined
  /** Whether to read on. If not, reading stops until `resume` is called. */
  hasRoom?: (() => boolean) | undefined
  /** Called once, when no further calls are taken because the instance leaves or the conversation is closed. */
  onleaving: () => void
  onclose?: (() => void) | undefined
}

/** The number that stands for a call that failed at once and was not sent. */
const NOT_SENT = 0
/** How many calls one link may carry at a time. */
export const MAX_IN_FLIGHT = 16_384
/** How much may wait for an instance that does not read. */
const MAX_UNSENT_BYTES = 16 * 1024 * 1024
/** How long a caller that gives up waits to hear whether a queued call was started, in ms. */
const LAST_WORD_MS = 25
/** How long to wait for the other side to end after this side has, in ms. */
const END_TIMEOUT_MS = 5000

/** The side of a conversation that calls. */
export class Caller {
  readonly #conversation: Conversation
  readonly #options: CallerOptions
  readonly #pending = new IdTable<Pending>()
  #lastId = 0
  #isLeaving = false
  #heardAt = 0
  #idleSince = performance.now()
  #closed: SeaportError | null = null

  constructor(stream: LinkStream, options: CallerOptions) {
    this.#options = options
    this.#conversation = new Conversation(stream, {
      maxFrame: options.maxFrame,
      hold: options.held && ((bytes) => this.#hold(bytes)),
      hasRoom: () => options.hasRoom?.() ?? true,
      onframe: (frame) => this.#take(frame),
      onend: () => this.#onend(),
      onclose: (reason) => this.#onclose(reason)
    })
    this.#conversation.start()
  }

  /** Whether it takes further calls. */
  get isOpen(): boolean {
    return !this.#isLeaving && this.#closed === null
  }

  /** Calls that wait for their answer. */
  get inFlight(): number {
    return this.#pending.size
  }

  /** How long the conversation has been idle, in ms. */
  get idleFor(): number {
    return this.#pending.size > 0 ? 0 : performance.now() - this.#idleSince
  }

  /** Whether anything came after a time, by `performance.now()`. */
  hasHeardSince(time: number): boolean {
    return this.#heardAt >= time
  }

  /**
   * Sends a command. Its outcome is reported to `answered`, perhaps before this returns.
   *
   * @returns its number, for `cancel`
   */
  call({ name, meta, body, deadline }: Outgoing, answered: Answered): number {
    const id = this.#begin(answered)
    if (id === NOT_SENT) return id
    const timeLeft = Math.max(1, Math.ceil(deadline - performance.now()))
    const isStreaming = answered.onitem !== undefined
    return this.#send({ type: CALL, id, timeLeft, isStreaming, name, meta, body })
  }

  /** Asks for an answer that was too large for the conversation. */
  fetch(token: Buffer, answered: Answered): number {
    const id = this.#begin(answered)
    return id === NOT_SENT ? id : this.#send({ type: FETCH, id, token })
  }

  /** Gives up a call, which then fails with this reason. */
  cancel(id: number, reason: SeaportError) {
    const pending = this.#pending.get(id)
    if (!pending || pending.cancelled) return
    this.#conversation.send({ type: CANCEL, id })
    if (!pending.isQueued) return this.#fail(pending, reason.withExecuted('perhaps'))
    pending.cancelled = reason
    setTimeout(() => {
      if (this.#pending.get(id) === pending) this.#fail(pending, reason.withExecuted('perhaps'))
    }, LAST_WORD_MS)
  }

  /** Emits an event to the instance, which does not acknowledge it. */
  emit(name: string, body: Body) {
    this.#idleSince = performance.now()
    if (this.#conversation.unsent > MAX_UNSENT_BYTES) return
    this.#conversation.send({ type: EMIT, name, body })
  }

  /** Takes no further calls, and ends when those that are under way have. */
  retire() {
    this.#leave()
  }

  /** Reads on, as there is room again. */
  resume() {
    this.#conversation.resume()
  }

  destroy(reason: SeaportError) {
    this.#conversation.destroy(reason)
  }

  #begin(answered: Answered): number {
    const denial = this.#denial()
    if (denial) {
      answered.onfailure(denial)
      return NOT_SENT
    }
    const id = ++this.#lastId
    this.#pending.set(id, new Pending(id, answered))
    return id
  }

  #send(frame: Frame & { id: number }): number {
    this.#conversation.send(frame)
    if (frame.id === MAX_ID) this.#leave()
    return frame.id
  }

  #settle({ id }: Pending) {
    this.#pending.delete(id)
    if (this.#pending.size === 0) this.#onidle()
  }

  #fail(pending: Pending, error: SeaportError) {
    const { answered, cancelled } = pending
    this.#settle(pending)
    answered.onfailure(cancelled ? cancelled.withExecuted(error.executed ?? 'perhaps') : error)
  }

  #denial(): SeaportError | null {
    if (this.#closed) return SeaportError.LINK_LOST(this.#closed.text).withExecuted('no')
    if (this.#isLeaving) {
      return SeaportError.REFUSED(
        'the instance is about to leave, and takes no calls'
      ).withExecuted('no')
    }
    if (this.#pending.size >= MAX_IN_FLIGHT) {
      return SeaportError.BUSY(
        `${MAX_IN_FLIGHT} calls wait for this instance already`
      ).withExecuted('no')
    }
    if (this.#conversation.unsent > MAX_UNSENT_BYTES) {
      return SeaportError.BUSY('the instance does not read what it is sent').withExecuted('no')
    }
    return null
  }

  #take(frame: Frame) {
    this.#heardAt = performance.now()
    if (frame.type === LEAVING) return this.#leave()
    if (frame.type === CALL || frame.type === CANCEL || frame.type === FETCH) {
      throw SeaportError.BAD_MESSAGE('an instance does not call who calls it')
    }
    if (!('id' in frame)) return
    const pending = this.#pending.get(frame.id)
    if (pending) this.#answer(pending, frame)
    // An answer to a call that was given up meanwhile is no fault of the other side.
    else if (frame.id > this.#lastId) throw SeaportError.BAD_MESSAGE('an answer nobody asked for')
  }

  #answer(pending: Pending, frame: Exclude<Frame, { type: typeof CALL }>) {
    const { answered, cancelled } = pending
    switch (frame.type) {
      case ANSWER:
        this.#settle(pending)
        return answered.onanswer(frame.body)
      case FAILURE:
        return this.#fail(pending, failureOf(frame))
      case PARKED:
        if (!answered.onparked)
          throw SeaportError.BAD_MESSAGE('an answer that is not to be fetched')
        this.#settle(pending)
        return answered.onparked(frame.token)
      case ITEM:
        if (!answered.onitem) throw SeaportError.BAD_MESSAGE('an item nobody asked for')
        return cancelled ? undefined : answered.onitem(frame.body)
      case QUEUED:
      case STARTED:
        pending.isQueued = frame.type === QUEUED
    }
  }

  #leave() {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#options.onleaving()
    if (this.#pending.size === 0) this.#onidle()
  }

  /** The instance has nothing more to say, so what it has not answered it never will. */
  #onend() {
    const error = SeaportError.LINK_LOST('the instance has ended the conversation')
    for (const pending of this.#pending.values()) this.#fail(pending, error.withExecuted('perhaps'))
    this.#leave()
  }

  #onidle() {
    this.#idleSince = performance.now()
    if (!this.#isLeaving || this.#closed) return
    this.#conversation.end()
    const timer = setTimeout(
      () => this.destroy(SeaportError.CLOSED('the instance did not end the conversation')),
      END_TIMEOUT_MS
    )
    timer.unref()
  }

  /** @throws TOO_LARGE */
  #hold(bytes: number) {
    try {
      this.#options.held?.take(bytes)
    } catch {
      throw SeaportError.TOO_LARGE('more large answers come than there is room for here')
    }
  }

  #onclose(reason: SeaportError | null) {
    this.#options.held?.release()
    this.#closed = reason ?? SeaportError.LINK_LOST('the instance has ended the conversation')
    // On a stream of its own that is the answer. In a conversation it may be that of any call.
    const isAnswer = this.#closed.code === 'TOO_LARGE' && this.#options.maxFrame !== undefined
    const error = isAnswer ? this.#closed : lost(this.#closed)
    const executed = isAnswer ? 'yes' : 'perhaps'
    for (const pending of this.#pending.values()) this.#fail(pending, error.withExecuted(executed))
    if (!this.#isLeaving) {
      this.#isLeaving = true
      this.#options.onleaving()
    }
    this.#options.onclose?.()
  }
}

/** The error of calls that were under way when the conversation ended. */
function lost(reason: SeaportError): SeaportError {
  if (reason.code === 'LINK_LOST') return reason
  return SeaportError.LINK_LOST(`no answer came: ${reason.text}`, reason)
}

/** The error for a FAILURE that an instance sent. */
function failureOf({ code, text, executed, handlerCode }: Failure): SeaportError {
  return SeaportError.remote(code, text).withExecuted(executed, printable(handlerCode) || undefined)
}
