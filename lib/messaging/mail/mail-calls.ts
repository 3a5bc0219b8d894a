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
  /** How long the caller still waits, in ms. */
  timeLeft: number
}

/** Receives the outcome of a command: one of these is called, once. */
export interface CallReplies {
  answer(body: Body): void
  fail(error: SeaportError): void
}

/** Executes a command that came by letter. */
export type OnCall = (call: IncomingCall, replies: CallReplies) => void

export interface MailCallsOptions {
  outbox: () => Pick<Outbox, 'sendOwn' | 'recall'>
  /** The function that executes commands that come; null if there is none. */
  oncall: () => OnCall | null
  onnotice: (notice: SeaportError) => void
  now: () => number
}

interface Pending {
  to: string
  resolve: (body: Body) => void
  reject: (error: SeaportError) => void
}

/** Letters with answers expire after this time at the earliest, in ms, because clocks differ. */
const MIN_ANSWER_TTL_MS = 10_000

/** Sends commands as letters where no link can be made, and executes those that come as letters. */
export class MailCalls {
  readonly #options: MailCallsOptions
  /** Commands that wait for their answer, by the id of their letter. */
  readonly #pending = new Map<string, Pending>()

  constructor(options: MailCallsOptions) {
    this.#options = options
  }

  /**
   * Sends a command to one key, and resolves with its answer.
   *
   * @throws the error that it ended with; its `executed` says whether it may have been executed
   */
  async call(to: string, outgoing: Outgoing, signal: AbortSignal): Promise<Body> {
    const outbox = this.#options.outbox()
    const body = unsent(() => encodeCall(outgoing))
    const ttl = Math.max(outgoing.deadline - performance.now(), 1)
    const letter = await outbox.sendOwn({ key: to }, CALL_LETTER, body, ttl).catch((error) => {
      throw (error as SeaportError).withExecuted('no')
    })
    try {
      return await new Promise<Body>((resolve, reject) => {
        this.#pending.set(letter.id, { to, resolve, reject })
        letter.delivered.catch((error: SeaportError) => {
          // A receiver refuses a letter before it executes anything. If the letter ended in any other way, the command
          // may have been executed.
          reject(error.withExecuted(letter.status === 'refused' ? 'no' : 'perhaps'))
        })
        const onabort = () => reject((signal.reason as SeaportError).withExecuted('perhaps'))
        if (signal.aborted) onabort()
        signal.addEventListener('abort', onabort, { once: true })
      })
    } finally {
      this.#pending.delete(letter.id)
      await outbox.recall(letter.id)
    }
  }

  /** The handler of one of hyperseaport's own types of letters; null if there is none. It never throws. */
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
      if (timeLeft <= 0) throw SeaportError.DEADLINE('it came after its time').withExecuted('no')
      oncall(
        { ...decodeCall(body), from, timeLeft },
        {
          fail,
          answer: (answer) => {
            try {
              reply(encodeAnswer(id, answer))
            } catch (error) {
              fail((error as SeaportError).withExecuted('yes'))
            }
          }
        }
      )
    } catch (error) {
      fail((error as SeaportError).withExecuted('no'))
    }
  }
}

/** @throws what `act` throws, marked as not executed */
function unsent<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw (error as SeaportError).withExecuted('no')
  }
}
