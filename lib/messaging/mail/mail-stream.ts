import { SeaportError } from '../../core/errors.js'
import type { SinkSource } from '../../link/sink.js'
import { exchange, FRAME, frame, readFrames } from './mail-frames.js'
import { decodeReceipt, encodeReceipt, type Receipt } from './receipt.js'

/*
 * One letter on a stream of its own:
 *
 *     ── letter ──▶
 *     ◀── taken ──    it is on the receiver's disk
 *     ◀── receipt ──  signed; at once where it is known, or when the handler is done
 */

/** How long the receiver may take to say that it has a letter, in ms. */
const TAKEN_TIMEOUT_MS = 5000
/** How long a stream is kept for a receipt to come, in ms. After that it comes when the letter is repeated. */
const RECEIPT_TIMEOUT_MS = 60_000

/**
 * Gives the receipt of a letter to whoever brought it. Returns false if it will not reach the letter's writer that way.
 */
export type TellReceipt = (receipt: Receipt) => boolean

/**
 * Takes a letter that came.
 *
 * @param onreceipt told of the receipt, if there is none yet
 * @returns the receipt, or null if the letter is on disk and has none yet
 * @throws SeaportError if it is not a valid letter to us
 */
export type TakeLetter = (letter: Buffer, onreceipt: TellReceipt) => Promise<Receipt | null>

export interface SendLetterOptions {
  /** Called with a receipt that comes after `taken`. */
  onreceipt: (receipt: Receipt) => void
  takenTimeout?: number
}

/**
 * Sends a letter on a stream.
 *
 * @returns the receipt, whose signature is not checked yet, or null if the letter was taken and has none yet
 * @throws LINK_LOST, OPEN_TIMEOUT, and what the other side cut the stream with
 */
export function sendLetter(
  stream: SinkSource,
  letter: Buffer,
  { onreceipt, takenTimeout = TAKEN_TIMEOUT_MS }: SendLetterOptions
): Promise<Receipt | null> {
  let isTaken = false
  return exchange(stream, frame(FRAME.letter, letter), {
    timeout: takenTimeout,
    onframe: (type, body, resolve, wait) => {
      if (type === FRAME.taken) {
        isTaken = true
        resolve(null)
      }
      if (isTaken) wait(RECEIPT_TIMEOUT_MS)
      if (type !== FRAME.receipt) return
      const receipt = decodeReceipt(body)
      if (isTaken) onreceipt(receipt)
      else resolve(receipt)
      stream.end()
    }
  })
}

/** Takes the letter of a stream, and answers. Never throws: what is wrong with the letter cuts the stream. */
export function receiveLetter(stream: SinkSource, take: TakeLetter) {
  let isOpen = true
  let hasLetter = false
  const give = (receipt: Receipt) => {
    if (!isOpen) return false
    stream.write(frame(FRAME.receipt, encodeReceipt(receipt)))
    stream.end()
    return true
  }
  readFrames(stream, {
    onframe: (type, body) => {
      if (type !== FRAME.letter) return
      if (hasLetter) throw SeaportError.BAD_MESSAGE('a second letter on one stream')
      hasLetter = true
      take(Buffer.from(body), give).then(
        (receipt) => {
          if (receipt) give(receipt)
          else if (isOpen) stream.write(frame(FRAME.taken))
        },
        (error) => stream.destroy(error)
      )
    },
    onclose: () => {
      isOpen = false
    }
  })
}
