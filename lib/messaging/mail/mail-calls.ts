import { SeaportError } from '../../core/errors.js'
import type { Body } from '../body.js'
import type { Outgoing } from '../caller.js'
import {
  ANSWER_LETTER,
  CALL_LETTER,
  decodeAnswer,
  decodeCall,
  encodeAnswer,
  encodeCall,
  encodeFailure,
  type LetterCall
} from './call-letters.js'
import type { OwnLetter } from './inbox.js'
import type { Outbox } from './outbox.js'

/** A command that came by letter. */
export interface IncomingCall extends LetterCall {
  /** Who wrote it, hex. */
  from: string
  /** How long it is of use, in ms. */
  timeLeft: number
}

/** Told of the end of a command once, by one of these. */
export interface CallReplies {
  answer(body: Body): void
  fail(error: SeaportError): void
}

/** Executes a command that came by letter. */
export type OnCall = (call: IncomingCall, replies: CallReplies) => void

export interface MailCallsOptions {
  outbox: () => Pick<Outbox, 'sendOwn' | 'recall'>
  /** Who executes what comes; null if nobody does. */
  oncall: () => OnCall | null
  onnotice: (notice: SeaportError) => void
  now: () => number
}

interface Pending {
  to: string
  resolve: (body: Body) => void
  reject: (error: SeaportError) => void
}

/** Answers are of use for so long at least, in ms: clocks differ. */
const MIN_ANSWER_TTL_MS = 10_000

/** Commands that go as letters, where no link can be made, and their answers. */
export class MailCalls {
  readonly #options: MailCallsOptions
  /** Commands whose answer has not come, by the id of their letter. */
  readonly #pending = new Map<string, Pending>()

  constructor(options: MailCallsOptions) {
    this.#options = options
  }

  /**
   * Sends a command to one key, and resolves with its answer.
   *
   * @throws what became of it; `executed` of it says whether it may have been executed
   */
  async call(to: string, outgoing: Outgoing, signal: AbortSignal): Promise<Body> {
    const outbox = this.#options.outbox()
    const body = unsent(() => encodeCall(outgoing))
    const ttl = Math.max(outgoing.deadline - performance.now(), 1)
    const letter = await outbox.sendOwn({ key: to }, CALL_LETTER, body, ttl).catch((error) => {
      throw (error as SeaportError).of('no')
    })
    try {
      return await new Promise<Body>((resolve, reject) => {
        this.#pending.set(letter.id, { to, resolve, reject })
        letter.delivered.catch((error: SeaportError) => {
          // A refusal is signed before anything is executed; what was not heard of may have been.
          reject(error.of(letter.status === 'refused' ? 'no' : 'perhaps'))
        })
        const onabort = () => reject((signal.reason as SeaportError).of('perhaps'))
        if (signal.aborted) onabort()
        signal.addEventListener('abort', onabort, { once: true })
      })
    } finally {
      this.#pending.delete(letter.id)
      await outbox.recall(letter.id)
    }
  }

  /** Who takes letters of hyperseaport's own; null if nobody does. What is returned never throws. */
  handlerOf(type: string): ((letter: OwnLetter) => void) | null {
    if (type === ANSWER_LETTER) return (letter) => this.#onanswer(letter)
    const oncall = type === CALL_LETTER ? this.#options.oncall() : null
    return oncall && ((letter) => this.#oncall(letter, oncall))
  }

  #onanswer({ from, body: letter }: OwnLetter) {
    try {
      const { id, body, error } = decodeAnswer(letter)
      const pending = this.#pending.get(id)
      if (pending?.to !== from) return
      if (body) pending.resolve(body)
      else pending.reject(error as SeaportError)
    } catch (error) {
      this.#options.onnotice(error as SeaportError)
    }
  }

  #oncall({ id, from, body, expiresAt }: OwnLetter, oncall: OnCall) {
    const { now, outbox, onnotice } = this.#options
    const timeLeft = expiresAt - now()
    const reply = (answer: Body) => {
      const ttl = Math.max(expiresAt - now(), MIN_ANSWER_TTL_MS)
      outbox().sendOwn({ key: from }, ANSWER_LETTER, answer, ttl).catch(onnotice)
    }
    const fail = (error: SeaportError) => reply(encodeFailure(id, error))
    try {
      if (timeLeft <= 0) throw SeaportError.DEADLINE('it came after its time').of('no')
      oncall(
        { ...decodeCall(body), from, timeLeft },
        {
          fail,
          answer: (answer) => {
            try {
              reply(encodeAnswer(id, answer))
            } catch (error) {
              fail((error as SeaportError).of('yes'))
            }
          }
        }
      )
    } catch (error) {
      fail((error as SeaportError).of('no'))
    }
  }
}

/** @throws what it throws, which was not executed */
function unsent<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw (error as SeaportError).of('no')
  }
}
