import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import type { PurposeHandler } from '../link/acceptor.js'
import type { LinkStream } from '../link/stream.js'
import { MAX_BODY_BYTES, MAX_BODY_LIMIT_BYTES } from './body.js'
import { BODY_MEMORY, type BodyMemory } from './body-memory.js'
import type { Commands } from './commands.js'
import { CONVERSATION, EVENTS, SINGLE_CALL } from './conversation.js'
import type { Events } from './events.js'
import { MAX_FRAME_BYTES } from './frames.js'
import { ParkedAnswers } from './parked-answers.js'
import { type Denial, Responder } from './responder.js'

/** The acceptor that gives a speaker its streams. */
export interface Listening {
  handle(purpose: string, handler: PurposeHandler): void
}

export interface SpeakerOptions {
  commands: Commands
  /** The largest body of a command or an answer, in bytes. */
  maxBody?: number | undefined
  /** Counts the large bodies that are being handled. Default: the count of this process. */
  memory?: BodyMemory | undefined
  denialOf: Denial
  events: Pick<Events, 'take' | 'subscribe' | 'leave' | 'recheck'>
  /** Called when somebody broke the protocol. */
  onnotice: (notice: SeaportError) => void
}

/** The purposes of the streams that a speaker takes. */
export const SPOKEN: readonly string[] = [CONVERSATION, SINGLE_CALL, EVENTS]

/** The largest frame of a stream for one call. */
export function maxFrameFor(maxBody: number = MAX_BODY_BYTES): number {
  if (Number.isInteger(maxBody) && maxBody > 0 && maxBody <= MAX_BODY_LIMIT_BYTES) {
    return maxBody + MAX_FRAME_BYTES
  }
  throw SeaportError.USAGE(
    `a body has at most ${MAX_BODY_LIMIT_BYTES} bytes, so maxBody is a number up to that, not ${maxBody}`
  )
}

/** Takes the conversations, calls and subscriptions of those who talk with a service. */
export class Speaker {
  readonly #options: SpeakerOptions
  readonly #maxFrame: number
  readonly #parked = new ParkedAnswers()
  readonly #responders = new Set<Responder>()
  #isLeaving = false

  /** @throws USAGE */
  constructor(options: SpeakerOptions) {
    this.#options = options
    this.#maxFrame = maxFrameFor(options.maxBody)
  }

  /** Takes streams from now on. */
  listen(listening: Listening) {
    listening.handle(CONVERSATION, (stream, key) => this.#respond(stream, key, undefined))
    listening.handle(SINGLE_CALL, (stream, key) => this.#respond(stream, key, this.#maxFrame))
    listening.handle(EVENTS, (stream, key) => this.#options.events.subscribe(stream, key))
  }

  /** Conversations that are open. */
  get size(): number {
    return this.#responders.size
  }

  /** Tells all callers that no further calls are taken. Conversations end when the calls under way have ended. */
  leave() {
    this.#isLeaving = true
    for (const responder of this.#responders) responder.leave()
    this.#options.events.leave()
  }

  /** Called when rights have changed. */
  recheck() {
    for (const responder of this.#responders) responder.recheck()
    this.#options.events.recheck()
  }

  close() {
    this.#parked.close()
  }

  #respond(stream: LinkStream, key: Buffer, maxFrame: number | undefined) {
    const { commands, denialOf, events, onnotice } = this.#options
    const responder: Responder = new Responder(stream, {
      peer: toHex(key),
      commands,
      denialOf,
      onemit: (name, body, peer) => events.take(name, body, peer),
      parked: this.#parked,
      maxFrame,
      memory: maxFrame === undefined ? undefined : (this.#options.memory ?? BODY_MEMORY),
      onclose: (reason) => {
        this.#responders.delete(responder)
        if (reason?.code === 'BAD_MESSAGE') onnotice(reason)
      }
    })
    this.#responders.add(responder)
    if (this.#isLeaving) responder.leave()
  }
}
