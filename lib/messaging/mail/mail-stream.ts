import { SeaportError } from '../../core/errors.js'
import type { SinkSource } from '../../link/sink.js'
import { MAX_LETTER_BYTES } from './letter.js'
import { decodeReceipt, encodeReceipt, type Receipt } from './receipt.js'

/**
 * One letter on a stream of its own:
 *
 *     ── LETTER ──▶
 *     ◀── TAKEN ──    it is on the receiver's disk
 *     ◀── RECEIPT ──  signed; at once where it is known, or when the handler is done
 *
 * A frame is its length (4 bytes, little-endian, of what follows), its type (1 byte), and a letter, nothing, or a
 * receipt. Frames of other types are passed by.
 */
export const LETTER = 1
export const TAKEN = 2
export const RECEIPT = 3
const HEAD_BYTES = 5
const MAX_FRAME_BYTES = MAX_LETTER_BYTES + 1
/** How long the receiver may take to say that it has a letter, in ms. */
const TAKEN_TIMEOUT_MS = 5000
/** How long a stream is kept for a receipt to come, in ms. After that it comes when the letter is repeated. */
const RECEIPT_TIMEOUT_MS = 60_000

/**
 * What judges a letter that came.
 *
 * @param onreceipt told of the receipt, if there is none yet
 * @returns the receipt, or null if the letter is on disk and has none yet
 * @throws SeaportError for what is no letter to us
 */
export type TakeLetter = (
  letter: Buffer,
  onreceipt: (receipt: Receipt) => void
) => Promise<Receipt | null>

export interface SendLetterOptions {
  /** Told of a receipt that comes later than `taken`. */
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
  return new Promise((resolve, reject) => {
    let isTaken = false
    let timer = setTimeout(
      () => stream.destroy(SeaportError.OPEN_TIMEOUT('the letter was not taken in time')),
      takenTimeout
    )
    readFrames(stream, {
      onframe: (type, body) => {
        if (type === TAKEN && !isTaken) {
          isTaken = true
          clearTimeout(timer)
          timer = setTimeout(() => stream.destroy(), RECEIPT_TIMEOUT_MS)
          timer.unref()
          resolve(null)
        }
        if (type !== RECEIPT) return
        const receipt = decodeReceipt(body)
        if (isTaken) onreceipt(receipt)
        else resolve(receipt)
        isTaken = true
        stream.end()
      },
      onclose: (reason) => {
        clearTimeout(timer)
        reject(reason ?? SeaportError.LINK_LOST('the stream ended before the letter was taken'))
      }
    })
    stream.write(frame(LETTER, letter))
    stream.resume()
  })
}

/** Takes the letter of a stream, and answers. Never throws: what is wrong with the letter cuts the stream. */
export function receiveLetter(stream: SinkSource, take: TakeLetter) {
  let isOpen = true
  const answer = (type: number, body: Buffer = Buffer.alloc(0)) => {
    if (!isOpen) return
    stream.write(frame(type, body))
    if (type === RECEIPT) stream.end()
  }
  const give = (receipt: Receipt) => answer(RECEIPT, encodeReceipt(receipt))
  let hasLetter = false
  readFrames(stream, {
    onframe: (type, body) => {
      if (type !== LETTER) return
      if (hasLetter) throw SeaportError.BAD_MESSAGE('a second letter on one stream')
      hasLetter = true
      take(Buffer.from(body), give).then(
        (receipt) => (receipt ? give(receipt) : answer(TAKEN)),
        (error) => stream.destroy(error)
      )
    },
    onclose: () => {
      isOpen = false
    }
  })
  stream.resume()
}

interface Reader {
  /** What it throws cuts the stream. */
  onframe: (type: number, body: Buffer) => void
  onclose: (reason: SeaportError | null) => void
}

/** Puts frames together, and holds no more than one. */
export function readFrames(stream: SinkSource, { onframe, onclose }: Reader) {
  let waiting: Buffer = Buffer.alloc(0)
  const read = (bytes: Buffer) => {
    waiting = waiting.byteLength === 0 ? bytes : Buffer.concat([waiting, bytes])
    while (waiting.byteLength >= HEAD_BYTES) {
      const length = waiting.readUInt32LE(0)
      if (length < 1 || length > MAX_FRAME_BYTES) {
        throw SeaportError.BAD_MESSAGE(`a frame of ${length} bytes in mail`)
      }
      if (waiting.byteLength < HEAD_BYTES - 1 + length) return
      const body = waiting.subarray(HEAD_BYTES, HEAD_BYTES - 1 + length)
      const type = waiting[HEAD_BYTES - 1] as number
      waiting = waiting.subarray(HEAD_BYTES - 1 + length)
      onframe(type, body)
    }
  }
  stream.attach({
    ondata(bytes) {
      try {
        read(bytes)
      } catch (error) {
        stream.destroy(error as Error)
      }
      return true
    },
    onend() {},
    ondrain() {},
    onclose
  })
}

/** A frame, as it is sent. */
export function frame(type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(body.byteLength + 1, 0)
  head[HEAD_BYTES - 1] = type
  return Buffer.concat([head, body])
}
