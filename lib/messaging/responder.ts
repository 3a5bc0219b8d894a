import { SeaportError } from '../core/errors.js'
import { IdTable } from '../link/id-table.js'
import type { LinkStream } from '../link/stream.js'
import type { Body } from './body.js'
import type { BodyMemory, HeldBody } from './body-memory.js'
import { MAX_IN_FLIGHT } from './caller.js'
import type { Commands } from './commands.js'
import { Conversation } from './conversation.js'
import {
  ANSWER,
  CALL,
  CANCEL,
  type Call,
  EMIT,
  FAILURE,
  FETCH,
  type Frame,
  ITEM,
  LEAVING,
  MAX_FRAME_BYTES,
  PARKED,
  QUEUED,
  STARTED
} from './frames.js'
import { isName } from './names.js'
import type { ParkedAnswers } from './parked-answers.js'
import type { Replies, Run } from './run.js'

/** Why a key may not execute a command, or null if it may. */
export type Denial = (peer: string, name: string) => SeaportError | null

export interface ResponderOptions {
  /** The key of the caller, in hex. */
  peer: string
  commands: Commands
  denialOf: Denial
  parked: ParkedAnswers
  /** Called with an event that the caller emitted and had the right to. */
  onemit: (name: string, body: Body, peer: string) => void
  /** The largest frame, in bytes. Default: that of a conversation. */
  maxFrame?: number | undefined
  /** Counts the bytes of large calls. */
  memory?: BodyMemory | undefined
  onclose: (reason: SeaportError | null) => void
}

/** How long a caller may take to end the conversation after it was told that we leave, in ms. */
const LEAVE_TIMEOUT_MS = 5000
/** From this many unsent bytes on, nothing more is read of a caller that does not read its answers. */
const MAX_UNSENT_BYTES = 1024 * 1024
/** The bytes that an answer takes beside its body. */
const ANSWER_OVERHEAD_BYTES = 6
/** The command whose right to call is the right to emit events to a service. */
export const EMIT_RIGHT = '$emit'

/** The side of a conversation that executes commands. */
export class Responder implements Replies {
  readonly peer: string
  readonly #options: ResponderOptions
  readonly #conversation: Conversation
  readonly #held: HeldBody | undefined
  readonly #maxBody: number
  readonly #runs = new IdTable<Run>()
  /** Remembers by name whether a command is denied. Rights change seldom. */
  readonly #denials = new Map<string, SeaportError | null>()
  #lastId = 0
  #isLeaving = false
  #hasPeerEnded = false
  #leaveTimer: NodeJS.Timeout | null = null
  /** Handlers that wait until there is room for further items. */
  #stalled: { id: number; resume: () => void }[] = []

  constructor(stream: LinkStream, options: ResponderOptions) {
    this.peer = options.peer
    this.#options = options
    // On a stream of its own a large answer delays nothing else, so only the limit of the command holds.
    this.#maxBody =
      options.maxFrame === undefined ? MAX_FRAME_BYTES - ANSWER_OVERHEAD_BYTES : Infinity
    this.#held = options.memory?.open(options.peer)
    this.#conversation = new Conversation(stream, {
      maxFrame: options.maxFrame,
      hold: this.#held && ((bytes) => this.#held?.take(bytes)),
      hasRoom: () => this.#conversation.unsent < MAX_UNSENT_BYTES,
      onframe: (frame) => this.#take(frame),
      onend: () => this.#onend(),
      ondrain: () => this.#drained(),
      onclose: (reason) => this.#onclose(reason),
      ...(options.maxFrame !== undefined && { onoverflow: (reason) => this.#refuse(reason) })
    })
    this.#conversation.start()
  }

  /** Takes no further calls. The caller ends the conversation when it has its answers. */
  leave() {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#conversation.send({ type: LEAVING })
    this.#endMaybe()
  }

  /** Called when rights have changed. Ends commands that the caller may not have executed any more. */
  recheck() {
    this.#denials.clear()
    for (const run of this.#runs.values()) {
      const denial = this.#denialOf(run.name)
      if (denial) run.cancel(denial)
    }
  }

  #take(frame: Frame) {
    switch (frame.type) {
      case CALL:
        return this.#call(frame)
      case CANCEL:
        return this.#runs.get(frame.id)?.cancel(SeaportError.CANCELLED('the caller gave up'))
      case FETCH:
        this.#checkId(frame.id)
        return this.#fetch(frame.id, frame.token)
      case EMIT:
        if (isName(frame.name) && !this.#denialOf(EMIT_RIGHT)) {
          this.#options.onemit(frame.name, frame.body, this.peer)
        }
        return
      default:
        throw SeaportError.BAD_MESSAGE(`a frame of type ${frame.type} from who calls`)
    }
  }

  #call(call: Call) {
    const { id, name } = call
    this.#checkId(id)
    const denial = this.#refusalOf(name)
    if (denial) return this.#fail(id, denial.withExecuted('no'))
    const run = this.#options.commands.run(call, this)
    if (run && !run.isReplied) this.#runs.set(id, run)
  }

  /** @throws BAD_MESSAGE for an id that was used before */
  #checkId(id: number) {
    if (id <= this.#lastId) throw SeaportError.BAD_MESSAGE(`the id ${id} a second time`)
    this.#lastId = id
  }

  #refusalOf(name: string): SeaportError | null {
    if (this.#isLeaving) {
      return SeaportError.REFUSED('the service is draining: it is about to leave')
    }
    if (this.#runs.size >= MAX_IN_FLIGHT) {
      return SeaportError.BUSY(`${MAX_IN_FLIGHT} of your calls are under way already`)
    }
    if (!isName(name)) return SeaportError.UNKNOWN_COMMAND('this is no name of a command')
    return this.#denialOf(name)
  }

  #denialOf(name: string): SeaportError | null {
    const known = this.#denials.get(name)
    if (known !== undefined) return known
    const denial = this.#options.denialOf(this.peer, name)
    // The size is bounded, because a caller may ask for any number of names.
    if (this.#denials.size < MAX_DENIALS) this.#denials.set(name, denial)
    return denial
  }

  // The following methods report what becomes of a call.

  answer(id: number, body: Body) {
    this.#answer(id, body)
    this.#onreplied(id)
  }

  fail(id: number, error: SeaportError) {
    this.#fail(id, error)
    this.#onreplied(id)
  }

  item(id: number, body: Body): Promise<void> {
    if (this.#conversation.send({ type: ITEM, id, body })) return Promise.resolve()
    return new Promise((resume) => this.#stalled.push({ id, resume }))
  }

  queued(id: number) {
    this.#conversation.send({ type: QUEUED, id })
  }

  started(id: number) {
    this.#conversation.send({ type: STARTED, id })
  }

  #onreplied(id: number) {
    this.#runs.delete(id)
    // A run that was cut off may wait for a caller who does not read.
    if (this.#stalled.length > 0) this.#resumeStalled((stalled) => stalled.id === id)
    this.#endMaybe()
  }

  #answer(id: number, body: Body) {
    if (body.bytes.byteLength <= this.#maxBody) {
      return void this.#conversation.send({ type: ANSWER, id, body })
    }
    const token = this.#options.parked.park(this.peer, body)
    if (token) return void this.#conversation.send({ type: PARKED, id, token })
    this.#fail(
      id,
      SeaportError.TOO_LARGE('too many large answers wait to be fetched').withExecuted('yes')
    )
  }

  #fail(id: number, { code, text, executed = 'perhaps', handlerCode = '' }: SeaportError) {
    this.#conversation.send({ type: FAILURE, id, executed, code, handlerCode, text })
  }

  #fetch(id: number, token: Buffer) {
    const body = this.#options.parked.take(this.peer, token)
    if (body) return this.#answer(id, body)
    this.#fail(
      id,
      SeaportError.LINK_LOST('the answer was not fetched in time').withExecuted('perhaps')
    )
  }

  /**
   * Refuses a call that is too large, or for which there is no room. Only its size was read, so its number is taken to
   * be the next.
   */
  #refuse(reason: SeaportError) {
    this.#fail(this.#lastId + 1, reason.withExecuted('no'))
    this.#hasPeerEnded = true
    this.#isLeaving = true
    this.#endMaybe()
    this.#destroyLater()
  }

  #onend() {
    this.#hasPeerEnded = true
    this.#endMaybe()
  }

  #endMaybe() {
    if (this.#runs.size > 0) return
    if (this.#hasPeerEnded) {
      this.#held?.release()
      this.#conversation.end()
    } else if (this.#isLeaving) this.#destroyLater()
  }

  #destroyLater() {
    this.#leaveTimer ??= setTimeout(
      () => this.#conversation.destroy(SeaportError.REFUSED('the service has left')),
      LEAVE_TIMEOUT_MS
    ).unref()
  }

  #drained() {
    this.#conversation.resume()
    this.#resumeStalled(() => true)
  }

  #resumeStalled(isOver: (stalled: { id: number }) => boolean) {
    const stalled = this.#stalled
    this.#stalled = stalled.filter((one) => !isOver(one))
    for (const one of stalled) if (isOver(one)) one.resume()
  }

  #onclose(reason: SeaportError | null) {
    if (this.#leaveTimer) clearTimeout(this.#leaveTimer)
    this.#held?.release()
    const why = reason ?? SeaportError.LINK_LOST('who called has ended the conversation')
    for (const run of this.#runs.values()) run.cancel(why)
    this.#drained()
    this.#options.onclose(reason)
  }
}

const MAX_DENIALS = 1024
