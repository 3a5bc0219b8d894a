import type { SinkSource } from '../../link/sink.js'
import type { LastRecords } from './last-records.js'
import { exchange, FRAME, frame, readFrames } from './mail-frames.js'
import type { Mailbox } from './mailbox.js'
import { decodeReceipt, encodeReceipt, type Receipt } from './receipt.js'

/*
 * The questions to a mailbox, one on each stream:
 *
 *     ── letter ──▶     ◀── receipt ──         keep this; it is kept, signed
 *     ── recall id ──▶  ◀── done ──            by its writer
 *     ── fetch ──▶      ◀── letter … done ──   by the receiver, who answers each letter with its receipt, or taken
 *     ── has ids ──▶    ◀── had ids ──         by another mailbox
 *     ── who key ──▶    ◀── record ──          the last record that the mailbox saw of it
 *
 * The asker is known by the key that the link was made with.
 */

const ID_BYTES = 32
const KEY_BYTES = 32
/** How many ids one question may have. */
export const MAX_ASKED_IDS = 1000
const TIMEOUT_MS = 10_000
/** How long a mailbox waits for the receiver's answer to a letter, in ms. A handler may be at work. */
const GIVING_TIMEOUT_MS = 60_000

/**
 * Answers a question to a mailbox. Never throws: an error cuts the stream.
 *
 * @param key who asks, hex
 * @param records the last records that the mailbox saw
 */
export function serveMailbox(
  stream: SinkSource,
  key: string,
  mailbox: Mailbox,
  records: Pick<LastRecords, 'get'>
) {
  let isAsked = false
  let isOpen = true
  let answered: () => void = () => {}
  const answer = (type: number, body?: Buffer) => isOpen && stream.write(frame(type, body))
  const give = async () => {
    for await (const letter of mailbox.lettersTo(key)) {
      if (!isOpen) return
      const next = new Promise<void>((resolve) => {
        answered = resolve
      })
      answer(FRAME.letter, letter)
      await next
    }
    answer(FRAME.done)
  }
  const ask = async (type: number, body: Buffer) => {
    if (type === FRAME.fetch) await give()
    else if (type === FRAME.recall && body.byteLength === ID_BYTES) {
      await mailbox.recall(body.toString('hex'), key)
      answer(FRAME.done)
    } else if (type === FRAME.letter) {
      answer(FRAME.receipt, encodeReceipt(await mailbox.keep(body)))
    } else if (type === FRAME.has) {
      answer(FRAME.had, encodeIds(decodeIds(body).filter((id) => mailbox.has(id))))
    }
    if (type === FRAME.who && body.byteLength === KEY_BYTES) {
      const record = await records.get(body.toString('hex'))
      answer(FRAME.record, record ? Buffer.from(JSON.stringify(record)) : undefined)
    }
    stream.end()
  }
  const fail = (error: unknown) => stream.destroy(error as Error)
  readFrames(stream, {
    onframe: (type, bytes) => {
      const body = Buffer.from(bytes)
      if (!isAsked) {
        isAsked = true
        ask(type, body).catch(fail)
      } else if (type === FRAME.receipt) {
        mailbox.settle(decodeReceipt(body)).then(() => answered(), fail)
      } else if (type === FRAME.taken) answered()
    },
    onclose: () => {
      isOpen = false
      answered()
    }
  })
}

/**
 * Asks a mailbox to keep a letter.
 *
 * @returns the receipt, whose signature is not checked yet
 * @throws LINK_LOST, OPEN_TIMEOUT, and what the mailbox refuses it with
 */
export function keepLetter(stream: SinkSource, letter: Buffer): Promise<Receipt> {
  return exchange(stream, frame(FRAME.letter, letter), {
    timeout: TIMEOUT_MS,
    onframe: (type, body, resolve) => {
      if (type !== FRAME.receipt) return
      resolve(decodeReceipt(body))
      stream.end()
    }
  })
}

/**
 * Takes a letter back from a mailbox.
 *
 * @throws LINK_LOST, OPEN_TIMEOUT
 */
export function recallLetter(stream: SinkSource, id: string): Promise<void> {
  return exchange(stream, frame(FRAME.recall, Buffer.from(id, 'hex')), {
    timeout: TIMEOUT_MS,
    onframe: (type, _, resolve) => {
      if (type !== FRAME.done) return
      resolve()
      stream.end()
    }
  })
}

/**
 * Asks which letters a mailbox keeps.
 *
 * @param ids up to 1000
 * @throws LINK_LOST, OPEN_TIMEOUT
 */
export function askKept(stream: SinkSource, ids: readonly string[]): Promise<string[]> {
  return exchange(stream, frame(FRAME.has, encodeIds(ids)), {
    timeout: TIMEOUT_MS,
    onframe: (type, body, resolve) => {
      if (type !== FRAME.had) return
      resolve(decodeIds(body))
      stream.end()
    }
  })
}

/**
 * Fetches the letters that a mailbox keeps for us, one after the other.
 *
 * @param take resolves with the receipt of a letter, or null if there is none yet
 * @throws LINK_LOST, OPEN_TIMEOUT, and what the mailbox cut the stream with
 */
export function fetchLetters(
  stream: SinkSource,
  take: (letter: Buffer) => Promise<Receipt | null>
): Promise<void> {
  let isOpen = true
  const fetched = exchange<void>(stream, frame(FRAME.fetch), {
    timeout: GIVING_TIMEOUT_MS,
    onframe: (type, body, resolve) => {
      if (type === FRAME.done) {
        resolve()
        stream.end()
      }
      if (type !== FRAME.letter) return
      void take(Buffer.from(body))
        .catch(() => null)
        .then((receipt) => {
          if (!isOpen) return
          stream.write(receipt ? frame(FRAME.receipt, encodeReceipt(receipt)) : frame(FRAME.taken))
        })
    }
  })
  return fetched.finally(() => {
    isOpen = false
  })
}

/**
 * Asks a mailbox for the last record that it saw of a key.
 *
 * @returns JSON, of which nothing is checked yet; null if it saw none
 * @throws LINK_LOST, OPEN_TIMEOUT
 */
export function askRecord(stream: SinkSource, key: string): Promise<string | null> {
  return exchange(stream, frame(FRAME.who, Buffer.from(key, 'hex')), {
    timeout: TIMEOUT_MS,
    onframe: (type, body, resolve) => {
      if (type !== FRAME.record) return
      resolve(body.byteLength > 0 ? body.toString() : null)
      stream.end()
    }
  })
}

function encodeIds(ids: readonly string[]): Buffer {
  return Buffer.from(ids.join(''), 'hex')
}

/** Reads ids. Incomplete ones, and those beyond the limit, are ignored. */
function decodeIds(bytes: Buffer): string[] {
  const count = Math.min(Math.floor(bytes.byteLength / ID_BYTES), MAX_ASKED_IDS)
  return Array.from({ length: count }, (_, i) =>
    bytes.toString('hex', i * ID_BYTES, (i + 1) * ID_BYTES)
  )
}
