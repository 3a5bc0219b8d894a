import { SeaportError } from '../../core/errors.js'
import type { SinkSource } from '../../link/sink.js'
import { MAX_LETTER_BYTES } from './letter.js'

/**
 * The types of the frames on streams of mail and of mailboxes. A frame is its length (4 bytes, little-endian, of what
 * follows), its type (1 byte), and its content. Frames of other types are ignored.
 */
export const FRAME = {
  /** A letter. */
  letter: 1,
  /** No content. The letter is on the receiver's disk. */
  taken: 2,
  /** A signed receipt. */
  receipt: 3,
  /** No content. Asks for all letters to the asker. */
  fetch: 4,
  /** The id of a letter that its writer takes back. */
  recall: 5,
  /** No content. Nothing more follows. */
  done: 6,
  /** Ids of letters that another mailbox keeps. */
  has: 7,
  /** Those of these ids that the answering mailbox keeps as well. */
  had: 8,
  /** The key whose last record is asked for. */
  who: 9,
  /** That record as JSON; empty if the mailbox has none. */
  record: 10
} as const

const HEAD_BYTES = 5
const MAX_FRAME_BYTES = MAX_LETTER_BYTES + 1

/** Encodes a frame. */
export function frame(type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(body.byteLength + 1, 0)
  head[HEAD_BYTES - 1] = type
  return Buffer.concat([head, body])
}

interface Reader {
  /** Takes a frame. What it throws cuts the stream. */
  onframe: (type: number, body: Buffer) => void
  onclose: (reason: SeaportError | null) => void
}

/** Reads frames of a stream, and holds no more than one. */
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
  stream.resume()
}

/** How the asking side handles the frames that come. */
interface Exchange<T> {
  /** How long the other side may be silent, in ms. */
  timeout: number
  /**
   * Takes a frame. What it throws cuts the stream.
   *
   * @param wait changes how long the next frame may take, in ms
   */
  onframe: (
    type: number,
    body: Buffer,
    resolve: (answer: T) => void,
    wait: (timeout: number) => void
  ) => void
}

/**
 * Asks one thing on a stream of its own.
 *
 * @throws LINK_LOST, OPEN_TIMEOUT, and what the other side cut the stream with
 */
export function exchange<T>(
  stream: SinkSource,
  request: Buffer,
  { timeout, onframe }: Exchange<T>
): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    const wait = (ms: number) => {
      clearTimeout(timer)
      timer = setTimeout(
        () => stream.destroy(SeaportError.OPEN_TIMEOUT('mail was not answered in time')),
        ms
      )
    }
    wait(timeout)
    readFrames(stream, {
      onframe: (type, body) => {
        wait(timeout)
        onframe(type, body, resolve, wait)
      },
      onclose: (reason) => {
        clearTimeout(timer)
        reject(reason ?? SeaportError.LINK_LOST('the stream ended before it was answered'))
      }
    })
    stream.write(request)
  })
}
