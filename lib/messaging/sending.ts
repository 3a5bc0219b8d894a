import { Abort, type Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import type { Executed } from '../core/executed.js'
import type { Dialer } from '../dialing/dialer.js'
import type { Body } from './body.js'
import type { Answered, Caller, Outgoing } from './caller.js'
import { CONVERSATION, SINGLE_CALL } from './conversation.js'
import type { Conversations } from './conversations.js'
import { DEADLINES, type Waiting } from './deadlines.js'
import { MAX_FRAME_BYTES, sizeOfCall } from './frames.js'
import { Turn } from './turn.js'

/** The part of a dialer that sending commands needs. */
export type Lender = Pick<Dialer, 'dial' | 'next' | 'statOf'>

export interface SendingOptions {
  dialer: Lender
  conversations: Conversations
  /** The only instance to send it to, in hex. */
  instance: string | undefined
  isIdempotent: boolean
  /** After what time another instance is asked as well if the command is idempotent, in ms. */
  hedgeAfter: number
}

/** Receives the outcome: one of these is called, once. */
export interface Told {
  onanswer(body: Body): void
  onfailure(error: SeaportError): void
}

/** Codes with which another instance is tried, because other versions have other commands and other grants. */
export const WORTH_ANOTHER = new Set([
  'BUSY',
  'REFUSED',
  'LINK_LOST',
  'UNKNOWN_COMMAND',
  'NOT_GRANTED'
])
/**
 * Codes by which an instance has denied the caller. If each has, the denial is reported, and not that there is no
 * instance.
 */
const DENIALS = new Set(['NOT_GRANTED', 'NOT_ALLOWED'])
/** How many attempts one command has at most, hedged ones included. */
const MAX_ATTEMPTS = 8
const RANK: Record<Executed, number> = { no: 0, perhaps: 1, yes: 2 }

/** One attempt at a command, from the search for an instance on. */
class Attempt implements Answered {
  readonly #sending: Sending
  #turn: Turn | null = null
  /** The conversation with the call under way, or with the FETCH of its answer. */
  #caller: Caller | null = null
  #id = 0
  #abort: Abort | null = null
  #reason: SeaportError | null = null

  constructor(sending: Sending) {
    this.#sending = sending
  }

  /** Why it was given up; null if it was not. */
  get reason(): SeaportError | null {
    return this.#reason
  }

  /** Ends what it takes to reach an instance. */
  get signal(): Signal {
    this.#abort ??= new Abort()
    if (this.#reason) this.#abort.abort(this.#reason)
    return this.#abort
  }

  call(turn: Turn, outgoing: Outgoing) {
    this.#turn = turn
    this.#caller = turn.caller
    this.#id = turn.caller.call(outgoing, this)
  }

  fetch(caller: Caller, token: Buffer, answered: Answered) {
    this.#caller = caller
    this.#id = caller.fetch(token, answered)
  }

  cancel(reason: SeaportError) {
    this.#reason ??= reason
    this.#abort?.abort(reason)
    this.#caller?.cancel(this.#id, reason)
  }

  onanswer(body: Body) {
    this.#turn?.succeeded()
    this.#sending.answered(this, body)
  }

  onfailure(error: SeaportError) {
    if (this.#reason) this.#turn?.abandoned()
    else if (error.code === 'LINK_LOST') this.#turn?.failed()
    else this.#turn?.succeeded()
    this.#sending.failed(this, error)
  }

  onparked(token: Buffer) {
    if (this.#turn) void this.#sending.parked(this, this.#turn, token)
  }
}

/**
 * One command on its way: to an instance, and to the next one if it was not executed or is idempotent. What is
 * idempotent is also sent to a second instance when the first leaves us waiting; the first answer counts.
 */
export class Sending {
  readonly #outgoing: Outgoing
  readonly #options: SendingOptions
  readonly #told: Told
  readonly #isLarge: boolean
  /** Attempts that are under way. */
  readonly #attempts: Attempt[] = []
  /** Keys of the instances that were asked, in hex. */
  readonly #tried: string[] = []
  #count = 0
  #worst: Executed = 'no'
  /** The error to report if no instance answers. */
  #last: SeaportError | null = null
  #hedge: Waiting | null = null
  #isSettled = false

  constructor(outgoing: Outgoing, options: SendingOptions, told: Told) {
    this.#outgoing = outgoing
    this.#options = options
    this.#told = told
    this.#isLarge = sizeOfCall(outgoing) > MAX_FRAME_BYTES
  }

  start() {
    this.#attempt()
    const { isIdempotent, hedgeAfter, instance } = this.#options
    if (!isIdempotent || instance !== undefined || this.#isSettled) return
    const deadline = performance.now() + hedgeAfter
    this.#hedge = DEADLINES.start({ deadline, onlate: () => this.#attempt() })
  }

  /** Gives the command up. Instances that were asked are told so. */
  abort(reason: SeaportError) {
    if (this.#isSettled) return
    this.#stopHedge()
    // This keeps further attempts from being made.
    this.#count = MAX_ATTEMPTS
    for (const attempt of [...this.#attempts]) attempt.cancel(reason)
  }

  #attempt(): void {
    this.#count++
    const attempt = new Attempt(this)
    this.#attempts.push(attempt)
    const turn = this.#takeNow()
    if (turn) this.#ask(attempt, turn)
    else this.#askLater(attempt)
  }

  #askLater(attempt: Attempt) {
    this.#take(attempt.signal).then(
      (turn) => this.#ask(attempt, turn),
      (error) => this.failed(attempt, noInstance(error))
    )
  }

  /** An open conversation with the instance whose turn it is; null if there is none. */
  #takeNow(): Turn | null {
    const { dialer, conversations, instance } = this.#options
    if (instance !== undefined || this.#tried.length > 0 || this.#isLarge) return null
    const stat = dialer.next(CONVERSATION)
    const caller = stat && conversations.peek(stat.servicePublicKey)
    if (!caller) return null
    const turn = new Turn(caller, stat)
    turn.begin()
    return turn
  }

  #take(signal: Signal): Promise<Turn> {
    const { dialer, conversations, instance } = this.#options
    const isLarge = this.#isLarge
    return dialer.dial<Turn>({
      purpose: isLarge ? SINGLE_CALL : CONVERSATION,
      signal,
      avoid: new Set(this.#tried),
      only: instance,
      open: async (key, options) => {
        const caller = isLarge
          ? await conversations.openSingle(key, options)
          : await conversations.open(key, options)
        return new Turn(caller, dialer.statOf(key.toString('hex')))
      }
    })
  }

  #ask(attempt: Attempt, turn: Turn): void {
    const key = turn.stat.servicePublicKey
    if (this.#isSettled || this.#tried.includes(key)) {
      turn.destroy()
      if (this.#isLarge) turn.caller.retire()
      this.failed(attempt, SeaportError.NO_INSTANCE('every instance was asked').withExecuted('no'))
      return
    }
    this.#tried.push(key)
    if (attempt.reason) {
      turn.abandoned()
      this.failed(attempt, attempt.reason.withExecuted('no'))
    } else attempt.call(turn, this.#outgoing)
    if (this.#isLarge) turn.caller.retire()
  }

  // The following methods take the outcome of an attempt.

  /** Gets an answer that is too large for the conversation. Never rejects. */
  async parked(attempt: Attempt, turn: Turn, token: Buffer) {
    const { conversations } = this.#options
    try {
      const caller = await conversations.openSingle(turn.stat.key, { signal: attempt.signal })
      attempt.fetch(caller, token, {
        onanswer: (body) => this.answered(attempt, body),
        // The command was executed even if its answer is too large for us.
        onfailure: (error) =>
          this.failed(attempt, error.code === 'TOO_LARGE' ? error : error.withExecuted('perhaps'))
      })
      caller.retire()
    } catch (error) {
      this.failed(attempt, (error as SeaportError).withExecuted('perhaps'))
    } finally {
      turn.succeeded()
    }
  }

  answered(attempt: Attempt, body: Body) {
    this.#forget(attempt)
    if (this.#isSettled) return
    this.#settle()
    this.#told.onanswer(body)
  }

  failed(attempt: Attempt, error: SeaportError): void {
    this.#forget(attempt)
    if (this.#isSettled) return
    const { executed = 'perhaps' } = error
    if (RANK[executed] > RANK[this.#worst]) this.#worst = executed
    if (executed !== 'yes') {
      // An earlier error is about this command, and that nobody is left to ask would tell less.
      if (this.#last === null || error.code !== 'NO_INSTANCE') this.#last = error
      if (this.#attempts.length > 0) return
      if (this.#mayGoOn(error)) {
        this.#attempt()
        return
      }
    } else this.#last = error
    this.#settle()
    this.#told.onfailure(this.#last.withExecuted(this.#worst, this.#last.handlerCode))
  }

  #mayGoOn({ code, executed }: SeaportError): boolean {
    if (this.#count >= MAX_ATTEMPTS || this.#options.instance !== undefined) return false
    if (!WORTH_ANOTHER.has(code)) return false
    return executed === 'no' || this.#options.isIdempotent
  }

  #forget(attempt: Attempt) {
    const index = this.#attempts.indexOf(attempt)
    if (index >= 0) this.#attempts.splice(index, 1)
  }

  #settle() {
    this.#isSettled = true
    this.#stopHedge()
    if (this.#attempts.length === 0) return
    const reason = SeaportError.CANCELLED('another instance was quicker')
    for (const attempt of [...this.#attempts]) attempt.cancel(reason)
  }

  #stopHedge() {
    if (this.#hedge) DEADLINES.stop(this.#hedge)
    this.#hedge = null
  }
}

/** The error for a sender when there was no instance to ask. */
export function noInstance(error: unknown): SeaportError {
  if (!(error instanceof SeaportError)) throw error
  const { cause } = error
  const isDenied = cause instanceof SeaportError && DENIALS.has(cause.code)
  return (isDenied ? cause : error).withExecuted('no')
}
