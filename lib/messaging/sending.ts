import { Abort, type Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import type { Executed } from '../core/executed.js'
import type { Dialer } from '../dialing/dialer.js'
import type { Body } from './body.js'
import type { Outgoing } from './caller.js'
import { CONVERSATION, SINGLE_CALL } from './conversation.js'
import type { Conversations } from './conversations.js'
import { MAX_FRAME_BYTES, sizeOfCall } from './frames.js'
import { Turn } from './turn.js'

/** What of a dialer it takes to send commands. */
export type Lender = Pick<Dialer, 'dial' | 'next' | 'statOf'>

export interface SendingOptions {
  dialer: Lender
  conversations: Conversations
  /** The only instance to send it to, in hex. */
  instance: string | undefined
  isIdempotent: boolean
  /** When another instance is asked too, in ms, if it is idempotent. */
  hedgeAfter: number
}

interface Attempt {
  abort: Abort
  turn: Turn | null
}

/** What may go well with another instance: older versions have other commands, and other grants. */
export const WORTH_ANOTHER = new Set([
  'BUSY',
  'REFUSED',
  'LINK_LOST',
  'UNKNOWN_COMMAND',
  'NOT_GRANTED'
])
/** What the caller may have been denied by each instance when it has found none. */
const DENIALS = new Set(['NOT_GRANTED', 'NOT_ALLOWED'])
/** Attempts at most, those that were hedged included. */
const MAX_ATTEMPTS = 8
const RANK: Record<Executed, number> = { no: 0, perhaps: 1, yes: 2 }

/**
 * One command on its way: to an instance, and to the next one if it was not executed or is idempotent. What is
 * idempotent is also sent to a second instance when the first leaves us waiting; the first answer counts.
 */
export class Sending {
  readonly #outgoing: Outgoing
  readonly #options: SendingOptions
  readonly #attempts = new Set<Attempt>()
  /** Who was asked, in hex. */
  readonly #tried = new Set<string>()
  #count = 0
  #worst: Executed = 'no'
  /** What is told if nothing better comes. */
  #last: SeaportError | null = null
  #hedge: NodeJS.Timeout | null = null
  #isSettled = false
  #resolve: (body: Body) => void = () => {}
  #reject: (error: SeaportError) => void = () => {}

  constructor(outgoing: Outgoing, options: SendingOptions) {
    this.#outgoing = outgoing
    this.#options = options
  }

  /** @throws what became of it, with `executed` */
  run(): Promise<Body> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#attempt()
      const { isIdempotent, hedgeAfter, instance } = this.#options
      if (!isIdempotent || instance !== undefined || this.#isSettled) return
      this.#hedge = setTimeout(() => this.#attempt(), hedgeAfter)
    })
  }

  /** Ends it. Who was asked is told so. */
  abort(reason: SeaportError) {
    if (this.#isSettled) return
    if (this.#hedge) clearTimeout(this.#hedge)
    // Nothing is tried any more.
    this.#count = MAX_ATTEMPTS
    for (const { abort } of [...this.#attempts]) abort.abort(reason)
  }

  #attempt(): void {
    this.#count++
    const attempt: Attempt = { abort: new Abort(), turn: null }
    this.#attempts.add(attempt)
    const turn = this.#takeNow()
    if (turn) this.#ask(attempt, turn)
    else this.#askLater(attempt)
  }

  #askLater(attempt: Attempt) {
    this.#take(attempt.abort).then(
      (turn) => this.#ask(attempt, turn),
      (error) => this.#onfailed(attempt, noInstance(error))
    )
  }

  /** A conversation that is there, with the instance whose turn it is. */
  #takeNow(): Turn | null {
    const { dialer, conversations, instance } = this.#options
    if (instance !== undefined || this.#tried.size > 0 || this.#isLarge) return null
    const stat = dialer.next(CONVERSATION)
    const caller = stat && conversations.peek(stat.servicePublicKey)
    if (!caller) return null
    stat.ejection.begin()
    stat.load.inFlight++
    const turn = new Turn(caller, stat)
    turn.whenUnused(() => stat.load.inFlight--)
    return turn
  }

  #take(signal: Signal): Promise<Turn> {
    const { dialer, conversations, instance } = this.#options
    const isLarge = this.#isLarge
    return dialer.dial<Turn>({
      purpose: isLarge ? SINGLE_CALL : CONVERSATION,
      signal,
      avoid: this.#tried,
      only: instance,
      open: async (key, options) => {
        const caller = isLarge
          ? await conversations.openSingle(key, options)
          : await conversations.open(key, options)
        return new Turn(caller, dialer.statOf(key.toString('hex')))
      }
    })
  }

  get #isLarge(): boolean {
    return sizeOfCall(this.#outgoing) > MAX_FRAME_BYTES
  }

  #ask(attempt: Attempt, turn: Turn): void {
    const key = turn.stat.servicePublicKey
    if (this.#isSettled || this.#tried.has(key)) {
      turn.destroy()
      if (this.#isLarge) turn.caller.retire()
      this.#onfailed(attempt, SeaportError.NO_INSTANCE('every instance was asked').of('no'))
      return
    }
    attempt.turn = turn
    this.#tried.add(key)
    const answered = {
      onanswer: (body: Body) => {
        turn.succeeded()
        this.#onanswer(attempt, body)
      },
      onfailure: (error: SeaportError) => {
        if (attempt.abort.aborted) turn.abandoned()
        else if (error.code === 'LINK_LOST') turn.failed()
        else turn.succeeded()
        this.#onfailed(attempt, error)
      },
      onparked: (token: Buffer) => {
        void this.#fetch(attempt, turn, token)
      }
    }
    turn.caller.call(this.#outgoing, answered, attempt.abort)
    if (this.#isLarge) turn.caller.retire()
  }

  /** Gets an answer that is too large for the conversation. Never rejects. */
  async #fetch(attempt: Attempt, turn: Turn, token: Buffer) {
    const { conversations } = this.#options
    const { abort } = attempt
    try {
      const caller = await conversations.openSingle(turn.stat.key, { signal: abort })
      caller.fetch(
        token,
        {
          onanswer: (body) => this.#onanswer(attempt, body),
          // An answer that is too large for us was answered all the same.
          onfailure: (error) =>
            this.#onfailed(attempt, error.code === 'TOO_LARGE' ? error : error.of('perhaps'))
        },
        abort
      )
      caller.retire()
    } catch (error) {
      this.#onfailed(attempt, (error as SeaportError).of('perhaps'))
    } finally {
      turn.succeeded()
    }
  }

  #onanswer(attempt: Attempt, body: Body) {
    this.#attempts.delete(attempt)
    if (this.#isSettled) return
    this.#settle()
    this.#resolve(body)
  }

  #onfailed(attempt: Attempt, error: SeaportError): void {
    this.#attempts.delete(attempt)
    if (this.#isSettled) return
    const { executed = 'perhaps' } = error
    if (RANK[executed] > RANK[this.#worst]) this.#worst = executed
    if (executed !== 'yes') {
      // What was said first is said of this command; that nobody else is left to ask adds nothing.
      if (this.#last === null || error.code !== 'NO_INSTANCE') this.#last = error
      if (this.#attempts.size > 0) return
      if (this.#mayGoOn(error)) {
        this.#attempt()
        return
      }
    } else this.#last = error
    this.#settle()
    this.#reject(this.#last.of(this.#worst, this.#last.handlerCode))
  }
  #mayGoOn({ code, executed }: SeaportError): boolean {
    if (this.#count >= MAX_ATTEMPTS || this.#options.instance !== undefined) return false
    if (!WORTH_ANOTHER.has(code)) return false
    return executed === 'no' || this.#options.isIdempotent
  }

  #settle() {
    this.#isSettled = true
    if (this.#hedge) clearTimeout(this.#hedge)
    if (this.#attempts.size === 0) return
    const reason = SeaportError.CANCELLED('another instance was quicker')
    for (const { abort } of [...this.#attempts]) abort.abort(reason)
  }
}

/** Why there was nobody to ask, as who sends a command is told. */
export function noInstance(error: unknown): SeaportError {
  if (!(error instanceof SeaportError)) throw error
  const { cause } = error
  const isDenied = cause instanceof SeaportError && DENIALS.has(cause.code)
  return (isDenied ? cause : error).of('no')
}
