import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import type { Receipt } from './receipt.js'

export interface SendMailOptions {
  /** After what time it expires, in ms. Default: 7 days; 30 at most. */
  ttl?: number | undefined
  /** Its type, as in `invoice`. The same names are valid as for commands. */
  type?: string | undefined
}

/** The final status of a letter. */
export type FinalStatus = 'delivered' | 'refused' | 'expired' | 'recalled'

/**
 * The status of a letter that was sent. `queued`: it waits here or in a mailbox. `unreachable`: its receiver is there,
 * but no link and no other way leads to it, and no mailbox keeps it; it is tried again. The others are final.
 */
export type LetterStatus = 'queued' | 'unreachable' | FinalStatus

/** A status of a letter, as somebody has signed it or as its writer knows it by itself. */
export interface LetterReceipt {
  /** The id of the letter, hex. */
  id: string
  status: LetterStatus
  /** Why it was refused, or what the last try ended with; '' otherwise. */
  code: string
  /** Who signed it, hex; null if nobody did. */
  by: string | null
  at: Date
}

export interface SentLetterEvents {
  receipt: [receipt: LetterReceipt]
}

/** A letter that is on disk, and what becomes of it. */
export class SentLetter extends EventEmitter<SentLetterEvents> {
  /** Hex; the same however often the letter is sent. */
  readonly id: string
  /**
   * Resolves when its receiver has signed that it was delivered.
   *
   * @throws EXPIRED, RECALLED, CLOSED if the process stopped waiting, or what the receiver refused it with
   */
  readonly delivered: Promise<LetterReceipt>
  #status: LetterStatus = 'queued'
  #settle: (receipt: LetterReceipt | SeaportError) => void = () => {}

  constructor(id: string) {
    super()
    this.id = id
    this.delivered = new Promise((resolve, reject) => {
      this.#settle = (outcome) =>
        outcome instanceof SeaportError ? reject(outcome) : resolve(outcome)
    })
    // Nobody has to await it, so its rejection must not count as unhandled.
    this.delivered.catch(() => {})
  }

  get status(): LetterStatus {
    return this.#status
  }

  /** Takes a receipt. For its outbox alone. */
  take(receipt: LetterReceipt) {
    this.#status = receipt.status
    this.emit('receipt', receipt)
    if (receipt.status === 'delivered') this.#settle(receipt)
    else if (isFinal(receipt.status)) this.#settle(errorOf(receipt))
  }

  /** Ends it without a final status, because the process stops waiting. For its outbox alone. */
  giveUp() {
    this.#settle(
      SeaportError.CLOSED('the mail was closed; the letter is sent when it is opened again')
    )
  }
}

function isFinal(status: LetterStatus): status is FinalStatus {
  return status !== 'queued' && status !== 'unreachable'
}

/** A receipt as callers see it. */
export function shown({ id, status, code, from, at }: Receipt): LetterReceipt {
  return { id, status, code, by: from, at: new Date(at) }
}

function errorOf({ status, code }: LetterReceipt): SeaportError {
  if (status === 'expired') return SeaportError.EXPIRED('the letter was not delivered in its time')
  if (status === 'recalled') return SeaportError.RECALLED('the letter was taken back')
  return SeaportError.remote(code || 'REFUSED', 'the receiver refused the letter')
}
