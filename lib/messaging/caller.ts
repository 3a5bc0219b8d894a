import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
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

/** What a call that was sent is answered with. Exactly one of these is called, once; `onitem` before, any number of times. */
export interface Answered {
  onanswer(body: Body): void
  onfailure(error: SeaportError): void
  /** The answer is too large for the conversation, and waits under this token. */
  onparked?(token: Buffer): void
  onitem?(body: Body): void
}

interface Pending extends Answered {
  isStreaming: boolean
  /** It waits for its turn there, so it may end without having been executed. */
  isQueued: boolean
  isCancelled: boolean
  sentAt: number
}

export interface CallerOptions {
  /** In bytes. Default: a conversation's. */
  maxFrame?: number | undefined
  /** Counts what comes of large answers. */
  held?: HeldBody | undefined
  /** Whether to read on; else from `resume` on. */
  hasRoom?: (() => boolean) | undefined
  /** No further calls are taken: the instance leaves, or it is closed. Once. */
  onleaving: () => void
  onclose?: (() => void) | undefined
}

/** As many calls as one link may carry at a time. */
export const MAX_IN_FLIGHT = 16_384
/** What waits for an instance that does not read. */
const MAX_UNSENT_BYTES = 16 * 1024 * 1024
/** How long who gives up waits to hear whether a call that was queued had its turn, in ms. */
const LAST_WORD_MS = 25
/** For the other side to end, after we have, in ms. */
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
      onend: () => this.#leave(),
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

  /** For how long nothing was asked, in ms. */
  get idleFor(): number {
    return this.#pending.size > 0 ? 0 : performance.now() - this.#idleSince
  }

  /** Whether anything came since then, by `performance.now()`. */
  hasHeardSince(time: number): boolean {
    return this.#heardAt >= time
  }

  /** Sends a command; what becomes of it is told to `answered`. The signal ends it, with a SeaportError as its reason. */
  call(outgoing: Outgoing, answered: Answered, signal?: Signal) {
    this.#ask(answered, signal, (id) => ({
      type: CALL,
      id,
      timeLeft: Math.max(1, Math.ceil(outgoing.deadline - performance.now())),
      isStreaming: answered.onitem !== undefined,
      name: outgoing.name,
      meta: outgoing.meta,
      body: outgoing.body
    }))
  }

  /** Asks for an answer that was too large. */
  fetch(token: Buffer, answered: Answered, signal?: Signal) {
    this.#ask(answered, signal, (id) => ({ type: FETCH, id, token }))
  }

  /** Tells something, whether it is heard or not. */
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

  #ask(answered: Answered, signal: Signal | undefined, frameOf: (id: number) => Frame) {
    const denial = this.#denial()
    if (denial) return answered.onfailure(denial)
    if (signal?.aborted) return answered.onfailure((signal.reason as SeaportError).of('no'))
    const id = ++this.#lastId
    const settle = () => {
      this.#pending.delete(id)
      signal?.removeEventListener('abort', onabort)
      if (this.#pending.size === 0) this.#onidle()
    }
    const pending: Pending = {
      isStreaming: answered.onitem !== undefined,
      isQueued: false,
      isCancelled: false,
      sentAt: performance.now(),
      onanswer: (body) => {
        settle()
        answered.onanswer(body)
      },
      onfailure: (error) => {
        settle()
        answered.onfailure(error)
      },
      onparked: (token) => {
        settle()
        answered.onparked?.(token)
      },
      onitem: (body) => answered.onitem?.(body)
    }
    const onabort = () => this.#cancel(id, pending, signal?.reason as SeaportError)
    this.#pending.set(id, pending)
    signal?.addEventListener('abort', onabort, { once: true })
    this.#conversation.send(frameOf(id))
    if (id === MAX_ID) this.#leave()
  }

  #denial(): SeaportError | null {
    if (this.#closed) return SeaportError.LINK_LOST(this.#closed.text).of('no')
    if (this.#isLeaving) {
      return SeaportError.REFUSED('the instance is about to leave, and takes no calls').of('no')
    }
    if (this.#pending.size >= MAX_IN_FLIGHT) {
      return SeaportError.BUSY(`${MAX_IN_FLIGHT} calls wait for this instance already`).of('no')
    }
    if (this.#conversation.unsent > MAX_UNSENT_BYTES) {
      return SeaportError.BUSY('the instance does not read what it is sent').of('no')
    }
    return null
  }

  #cancel(id: number, pending: Pending, reason: SeaportError) {
    if (pending.isCancelled) return
    pending.isCancelled = true
    this.#conversation.send({ type: CANCEL, id })
    if (!pending.isQueued) return pending.onfailure(reason.of('perhaps'))
    const { onfailure } = pending
    pending.onfailure = (error) => onfailure(reason.of(error.executed ?? 'perhaps'))
    setTimeout(() => {
      if (this.#pending.get(id) === pending) onfailure(reason.of('perhaps'))
    }, LAST_WORD_MS)
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
    // What comes for a call that was given up is no offence.
    else if (frame.id > this.#lastId) throw SeaportError.BAD_MESSAGE('an answer nobody asked for')
  }

  #answer(pending: Pending, frame: Exclude<Frame, { type: typeof CALL }>) {
    switch (frame.type) {
      case ANSWER:
        return pending.onanswer(frame.body)
      case FAILURE:
        return pending.onfailure(failureOf(frame))
      case PARKED:
        return pending.onparked?.(frame.token)
      case ITEM:
        if (!pending.isStreaming) throw SeaportError.BAD_MESSAGE('an item nobody asked for')
        return pending.isCancelled ? undefined : pending.onitem?.(frame.body)
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
    const error = lost(this.#closed)
    const executed = error.code === 'TOO_LARGE' ? 'yes' : 'perhaps'
    for (const pending of this.#pending.values()) pending.onfailure(error.of(executed))
    if (!this.#isLeaving) {
      this.#isLeaving = true
      this.#options.onleaving()
    }
    this.#options.onclose?.()
  }
}

/** Why calls that were under way have no answer. */
function lost(reason: SeaportError): SeaportError {
  if (reason.code === 'LINK_LOST' || reason.code === 'TOO_LARGE') return reason
  return SeaportError.LINK_LOST(`no answer came: ${reason.text}`, reason)
}

/** What an instance said, as it is told to who called. */
function failureOf({ code, text, executed, handlerCode }: Failure): SeaportError {
  return SeaportError.remote(code, text).of(executed, handlerCode || undefined)
}
