import { SeaportError } from '../../core/errors.js'
import type { SinkSource } from '../../link/sink.js'
import { frame, LETTER, RECEIPT, readFrames, TAKEN } from './mail-stream.js'
import type { Mailbox } from './mailbox.js'
import { decodeReceipt, encodeReceipt, type Receipt } from './receipt.js'

/**
 * What a mailbox is asked, one thing on each stream. Frames are those of mail, and three more:
 *
 *     ── LETTER ──▶  ◀── RECEIPT ──           keep this; it is kept, signed
 *     ── RECALL id ──▶                        by its writer
 *     ── FETCH ──▶   ◀── LETTER … DONE ──     by the receiver, who answers each letter with its receipt, or TAKEN
 *
 * Who asks is the key that the link was made with.
 */
const FETCH = 4
const RECALL = 5
const DONE = 6
const ID_BYTES = 32
const TIMEOUT_MS = 10_000

/** Answers what somebody asks of a mailbox. Never throws: what is wrong cuts the stream. */
export function serveMailbox(stream: SinkSource, key: string, mailbox: Mailbox) {
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
      answer(LETTER, letter)
      await next
    }
    answer(DONE)
    stream.end()
  }
  const ask = async (type: number, body: Buffer) => {
    if (type === FETCH) return give()
    if (type === RECALL && body.byteLength === ID_BYTES) {
      await mailbox.recall(body.toString('hex'), key)
    } else if (type === LETTER) {
      answer(RECEIPT, encodeReceipt(await mailbox.keep(body)))
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
      } else if (type === RECEIPT) {
        mailbox.settle(decodeReceipt(body)).then(() => answered(), fail)
      } else if (type === TAKEN) answered()
    },
    onclose: () => {
      isOpen = false
      answered()
    }
  })
  stream.resume()
}

/**
 * Has a letter kept.
 *
 * @returns the receipt, whose signature is not checked yet
 * @throws LINK_LOST, OPEN_TIMEOUT, and what the mailbox refuses it with
 */
export function keepLetter(stream: SinkSource, letter: Buffer): Promise<Receipt> {
  return new Promise((resolve, reject) => {
    const timer = cutLater(stream)
    readFrames(stream, {
      onframe: (type, body) => {
        if (type !== RECEIPT) return
        resolve(decodeReceipt(body))
        stream.end()
      },
      onclose: (reason) => {
        clearTimeout(timer)
        reject(reason ?? SeaportError.LINK_LOST('the mailbox did not answer'))
      }
    })
    stream.write(frame(LETTER, letter))
    stream.resume()
  })
}

/** Takes a letter back. */
export function recallLetter(stream: SinkSource, id: string) {
  const timer = cutLater(stream)
  readFrames(stream, { onframe: () => {}, onclose: () => clearTimeout(timer) })
  stream.write(frame(RECALL, Buffer.from(id, 'hex')))
  stream.end()
  stream.resume()
}

/**
 * Fetches what a mailbox keeps for us, one after the other.
 *
 * @param take resolves with the receipt of a letter, or null if there is none yet
 * @throws LINK_LOST, and what the mailbox cut the stream with
 */
export function fetchLetters(
  stream: SinkSource,
  take: (letter: Buffer) => Promise<Receipt | null>
): Promise<void> {
  return new Promise((resolve, reject) => {
    let isDone = false
    readFrames(stream, {
      onframe: (type, body) => {
        if (type === DONE) {
          isDone = true
          stream.end()
          return resolve()
        }
        if (type !== LETTER) return
        void take(Buffer.from(body))
          .catch(() => null)
          .then((receipt) => {
            if (!isDone)
              stream.write(receipt ? frame(RECEIPT, encodeReceipt(receipt)) : frame(TAKEN))
          })
      },
      onclose: (reason) => {
        isDone = true
        reject(reason ?? SeaportError.LINK_LOST('the mailbox broke off'))
      }
    })
    stream.write(frame(FETCH))
    stream.resume()
  })
}

function cutLater(stream: SinkSource): NodeJS.Timeout {
  return setTimeout(
    () => stream.destroy(SeaportError.OPEN_TIMEOUT('the mailbox did not answer in time')),
    TIMEOUT_MS
  )
}
