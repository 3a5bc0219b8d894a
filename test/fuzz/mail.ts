import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { MAIL } from '../../lib/core/purpose.js'
import { boxKeyOf, boxKeyPairOf } from '../../lib/core/sealed-box.js'
import { MEMORY } from '../../lib/link/memory.js'
import { type Carrier, LinkStream } from '../../lib/link/stream.js'
import { LINK_BUDGET, Window } from '../../lib/link/window.js'
import { decodeBody, encodeBody } from '../../lib/messaging/body.js'
import {
  decodeAnswer,
  decodeCall,
  encodeCall,
  encodeFailure
} from '../../lib/messaging/mail/call-letters.js'
import { Forwarder, type Neighbour } from '../../lib/messaging/mail/forwarder.js'
import {
  decodeLetter,
  encodeLetter,
  isLetterSigned,
  openLetter,
  writeLetter
} from '../../lib/messaging/mail/letter.js'
import { frame } from '../../lib/messaging/mail/mail-frames.js'
import { receiveLetter, sendLetter } from '../../lib/messaging/mail/mail-stream.js'
import { Mailbox } from '../../lib/messaging/mail/mailbox.js'
import {
  askKept,
  askRecord,
  fetchLetters,
  keepLetter,
  recallLetter,
  serveMailbox
} from '../../lib/messaging/mail/mailbox-stream.js'
import { encodeMemberFrame } from '../../lib/messaging/mail/member-frames.js'
import {
  decodeReceipt,
  encodeReceipt,
  isReceiptSigned,
  signReceipt
} from '../../lib/messaging/mail/receipt.js'
import { type Place, Segments } from '../../lib/messaging/mail/segments.js'
import { settled } from './line.js'
import type { Target } from './mutants.js'

const registry = KeyPair().publicKey
const [alice, bob] = [KeyPair(), KeyPair()]
const keys = [boxKeyPairOf(bob)]
const id = '07'.repeat(32)
const sentAt = Date.UTC(2030, 0, 1)

const letter = encodeLetter(
  writeLetter({
    registry,
    keyPair: alice,
    id,
    to: toHex(bob.publicKey),
    sealTo: boxKeyOf(bob.publicKey),
    sentAt,
    expiresAt: sentAt + 1000,
    type: 'note',
    body: encodeBody({ text: 'hello' })
  })
)
const receipt = encodeReceipt(
  signReceipt(registry, bob, {
    id,
    to: toHex(alice.publicKey),
    status: 'refused',
    code: 'INBOX_FULL',
    at: sentAt
  })
)

const call = encodeCall({ name: 'echo', meta: { principal: 'ada' }, body: encodeBody([1, 'two']) })
const failure = encodeFailure(id, SeaportError.BUSY('later').withExecuted('no'))

/** Feeds one end of a stream for a letter, and tells what it was cut with. */
async function feed(pieces: Buffer[], listen: (stream: LinkStream) => unknown) {
  const carrier: Carrier = {
    path: 'dht',
    memory: MEMORY,
    schedule() {},
    cut() {},
    finish() {}
  }
  const window = new Window({ left: LINK_BUDGET })
  const stream = new LinkStream({ id: 1, purpose: MAIL, carrier, credit: window.size, window })
  let reason: SeaportError | null = null
  stream.whenClosed((why) => {
    reason ??= why
  })
  listen(stream)
  for (const piece of pieces) {
    stream.receiveData(piece)
    await settled()
  }
  const cause = reason
  stream.destroy()
  if (cause) throw cause
}

/** A letter as it is in a file of a mailbox. */
function kept(letter: Buffer): Buffer {
  const head = Buffer.alloc(13, 1)
  head.writeUInt32LE(letter.byteLength, 1)
  head.writeUInt32LE(crc32(letter), 5)
  head.writeUInt32LE(crc32(head.subarray(1, 9)), 9)
  return Buffer.concat([head, letter])
}

/** What a mailbox saw of records. */
const records = { get: async () => null }

/** A mailbox whose disk is a map. */
function mailboxInMemory(): Mailbox {
  const letters = new Map<number, Buffer>()
  const segments = {
    append: async (letter: Buffer) => {
      letters.set(letters.size, letter)
      return { segment: 1, offset: letters.size - 1, bytes: letter.byteLength }
    },
    read: async ({ offset }: Place) => letters.get(offset),
    remove: async () => {}
  } as unknown as Segments
  const now = () => sentAt
  return new Mailbox({
    registry,
    keyPair: alice,
    segments,
    maxBytes: 1e6,
    mayWrite: () => true,
    now
  })
}

export const mailTargets: Record<string, Target> = {
  'a letter': {
    valid: [letter],
    read([bytes]) {
      const read = decodeLetter(bytes as Buffer)
      if (!isLetterSigned(registry, bytes as Buffer)) throw SeaportError.BAD_SIGNATURE('not signed')
      const content = openLetter(read, keys)
      if (content) decodeBody(content.body)
      return bytes
    },
    mayAccept: (bytes) => (bytes as Buffer).equals(letter)
  },
  'a letter that whoever seals it signs': {
    valid: [letter],
    read([bytes]) {
      const content = openLetter(decodeLetter(bytes as Buffer), keys)
      return content && decodeBody(content.body)
    }
  },
  'a stream with a letter': {
    valid: [frame(99, Buffer.from('later')), frame(1, letter)],
    async read(pieces) {
      await feed(pieces, (stream) =>
        receiveLetter(stream, async (bytes) => {
          decodeLetter(bytes)
          return null
        })
      )
    }
  },
  'the answer to a letter': {
    valid: [frame(2, Buffer.alloc(0)), frame(3, receipt)],
    async read(pieces) {
      let sent: Promise<unknown> | undefined
      const onreceipt = () => {}
      await feed(pieces, (stream) => {
        sent = sendLetter(stream, letter, { onreceipt }).catch(() => {})
      })
      await sent
    }
  },
  'a command in a letter': {
    valid: [call.bytes],
    read([bytes]) {
      const read = decodeCall({ kind: 'bytes', bytes: bytes as Buffer })
      return decodeBody(read.body)
    }
  },
  'an answer in a letter': {
    valid: [failure.bytes],
    read: ([bytes]) => decodeAnswer({ kind: 'bytes', bytes: bytes as Buffer })
  },
  'what is asked of a mailbox': {
    valid: [frame(99, Buffer.from('later')), frame(1, letter), frame(3, receipt)],
    async read(pieces) {
      const mailbox = mailboxInMemory()
      await mailbox.keep(letter)
      await feed(pieces, (stream) => serveMailbox(stream, toHex(bob.publicKey), mailbox, records))
    }
  },
  'what a receiver tells a mailbox': {
    valid: [frame(4), frame(2), frame(3, receipt)],
    async read(pieces) {
      const mailbox = mailboxInMemory()
      await mailbox.keep(letter)
      await feed(pieces, (stream) => serveMailbox(stream, toHex(bob.publicKey), mailbox, records))
    }
  },
  'what mailboxes ask each other': {
    valid: [frame(7, Buffer.from(id + id, 'hex')), frame(9, bob.publicKey)],
    async read(pieces) {
      await feed(pieces, (stream) =>
        serveMailbox(stream, toHex(alice.publicKey), mailboxInMemory(), records)
      )
    }
  },
  'the answers of a mailbox': {
    valid: [
      frame(1, letter),
      frame(3, receipt),
      frame(8, Buffer.from(id, 'hex')),
      frame(6),
      frame(10)
    ],
    async read(pieces) {
      const ways: ((stream: LinkStream) => Promise<unknown>)[] = [
        (stream) => keepLetter(stream, letter),
        (stream) => recallLetter(stream, id),
        (stream) => askKept(stream, [id]),
        (stream) => askRecord(stream, id),
        (stream) => fetchLetters(stream, async (bytes) => decodeLetter(bytes) && null)
      ]
      for (const ask of ways) {
        let asked: Promise<unknown> | undefined
        await feed(pieces, (stream) => {
          asked = ask(stream).catch(() => {})
        })
        await asked
      }
    }
  },
  'what members say of letters of others': {
    valid: [
      encodeMemberFrame({ type: 'seek', question: '01'.repeat(8), to: id, hops: 4 }),
      encodeMemberFrame({ type: 'here', question: '01'.repeat(8), to: id, distance: 1 }),
      encodeMemberFrame({ type: 'letter', hops: 3, letter }),
      encodeMemberFrame({ type: 'receipt', receipt }),
      encodeMemberFrame({ type: 'taken', id }),
      encodeMemberFrame({ type: 'no way', id })
    ],
    async read(frames) {
      const others = ['a', 'b'].map((key) => ({ key, send: () => false }))
      const forwarder = new Forwarder({
        registry,
        neighbours: () => others,
        holderOf: () => null,
        mayWrite: () => true,
        seekTimeout: 1
      })
      for (const frame of frames) forwarder.receive(others[0] as Neighbour, frame)
    }
  },
  'a file of a mailbox': {
    valid: [kept(letter), kept(letter)],
    isSlow: true,
    async read(pieces) {
      const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-fuzz-'))
      try {
        await writeFile(join(dir, '1'), Buffer.concat(pieces))
        await new Segments(dir, { maxBytes: 1e6 }).load((bytes) => {
          if (!bytes.equals(letter)) throw new Error('a letter that nobody wrote')
          return true
        })
      } finally {
        await rm(dir, { recursive: true })
      }
    }
  },
  'a receipt': {
    valid: [receipt],
    read([bytes]) {
      const read = decodeReceipt(bytes as Buffer)
      if (!isReceiptSigned(registry, read)) throw SeaportError.BAD_SIGNATURE('not signed')
      return bytes
    },
    mayAccept: (bytes) => (bytes as Buffer).equals(receipt)
  }
}
