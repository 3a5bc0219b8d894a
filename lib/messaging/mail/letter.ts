import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { type BoxKeyPair, SEAL_BYTES, seal, unseal } from '../../core/sealed-box.js'
import { type Body, encodeBody } from '../body.js'
import { isName } from '../names.js'

/** A letter as it travels. Everybody who passes it on can check who wrote it, and only its receiver can read it. */
export interface Letter {
  /** 32 random bytes, hex; the same however often it is sent. */
  id: string
  /** The keys of its writer and its receiver, hex. */
  from: string
  to: string
  /** When it was written and when it expires, in ms since 1970. */
  sentAt: number
  expiresAt: number
  flags: number
  /** The sealed content. */
  box: Buffer
  signature: Buffer
}

/** What anybody who has a letter knows of it. */
export type LetterHead = Pick<Letter, 'id' | 'from' | 'to' | 'sentAt' | 'expiresAt'>

/** The content, which only the receiver can read. */
export interface Content {
  type: string
  body: Body
}

export interface LetterTerms extends Content, Pick<Letter, 'id' | 'to' | 'sentAt' | 'expiresAt'> {
  registry: Buffer
  /** The writer's key pair. */
  keyPair: KeyPair
  /** The X25519 key to seal it to: a prekey of the receiver, or the one that is derived from its own key. */
  sealTo: Buffer
  /** Whether it was written to a role, and goes to this receiver as an instance of it. */
  isToRole?: boolean | undefined
  /** Whether its body is a receipt for a letter that went the other way. */
  isReceipt?: boolean | undefined
}

/** The largest body, in bytes. */
export const MAX_LETTER_BODY_BYTES = 60 * 1024
/** The largest content, padded. */
const MAX_PADDED_BYTES = 64 * 1024
const MIN_PADDED_BYTES = 256
export const MAX_TTL_MS = 30 * 24 * 60 * 60 * 1000
/** How much clocks may differ, in ms. */
export const CLOCK_MS = 5 * 60 * 1000
const TO_ROLE = 1
const IS_RECEIPT = 2

const VERSION = 1
const HEAD_BYTES = 1 + 1 + 32 * 3 + 6 + 6 + 4
const SIGNATURE_BYTES = 64
const NOT_SIGNED = Buffer.alloc(SIGNATURE_BYTES)
/** The largest letter, in bytes. */
export const MAX_LETTER_BYTES = HEAD_BYTES + MAX_PADDED_BYTES + SEAL_BYTES + SIGNATURE_BYTES
const DOMAIN = Buffer.from('hyperseaport/letter/1')
const KINDS: readonly Body['kind'][] = ['none', 'json', 'bytes']

/** Seals and signs a letter. */
export function writeLetter({
  registry,
  keyPair,
  sealTo,
  isToRole,
  isReceipt,
  ...terms
}: LetterTerms): Letter {
  const { id, to, sentAt, expiresAt } = terms
  const from = toHex(keyPair.publicKey)
  const box = seal(pad(encodeContent({ ...terms, from })), sealTo)
  const flags = (isToRole ? TO_ROLE : 0) | (isReceipt ? IS_RECEIPT : 0)
  const unsigned = { id, from, to, sentAt, expiresAt, flags, box, signature: NOT_SIGNED }
  const { hash } = signatureOf(registry, encodeLetter(unsigned))
  return { ...unsigned, signature: crypto.sign(hash, keyPair.secretKey) }
}

/**
 * Whether the named writer of an encoded letter, whose form was checked, has signed it for this registry. This takes
 * about 50 µs.
 */
export function isLetterSigned(registry: Buffer, bytes: Buffer): boolean {
  return isSignatureValid(signatureOf(registry, bytes))
}

/** A signature, and what it is over. */
export interface LetterSignature {
  hash: Buffer
  signature: Buffer
  publicKey: Buffer
}

/** The signature of an encoded letter whose form was checked, and what it has to be over, for this registry. */
export function signatureOf(registry: Buffer, bytes: Buffer): LetterSignature {
  const box = bytes.subarray(HEAD_BYTES, -SIGNATURE_BYTES)
  return {
    // The fields follow each other in a letter as they do in what is signed, except for the flags.
    hash: crypto.hash([
      DOMAIN,
      registry,
      bytes.subarray(2, HEAD_BYTES - 4),
      bytes.subarray(1, 2),
      crypto.hash(box)
    ]),
    signature: bytes.subarray(-SIGNATURE_BYTES),
    publicKey: bytes.subarray(34, 66)
  }
}

export function isSignatureValid({ hash, signature, publicKey }: LetterSignature): boolean {
  return crypto.verify(hash, signature, publicKey)
}

/** Whether a letter may be of use for so long, in ms. A text that looks like a number would be put behind a date. */
export function isTtl(ttl: unknown): boolean {
  return typeof ttl === 'number' && ttl >= 1 && ttl <= MAX_TTL_MS
}

/** Whether it was written to a role. */
export function isToRole({ flags }: Letter): boolean {
  return (flags & TO_ROLE) !== 0
}

/** Whether its body is a receipt. */
export function isReceiptLetter({ flags }: Letter): boolean {
  return (flags & IS_RECEIPT) !== 0
}

/**
 * Checks the dates of a letter. Its id is remembered until it expires, so that must not be too far ahead.
 *
 * @throws BAD_DATE
 */
export function checkLetterDates({ sentAt, expiresAt }: LetterHead, now: number) {
  if (sentAt > now + CLOCK_MS) {
    throw SeaportError.BAD_DATE('a letter that was written in the future; is a clock wrong?')
  }
  if (expiresAt <= sentAt || expiresAt - sentAt > MAX_TTL_MS) {
    throw SeaportError.BAD_DATE('a letter is of use for 30 days at most')
  }
}

/** Whether it has expired by any clock that is not wrong by more than `CLOCK_MS`. */
export function isLetterExpired({ expiresAt }: Pick<Letter, 'expiresAt'>, now: number): boolean {
  return now > expiresAt + CLOCK_MS
}

/**
 * Opens a letter whose signature was verified. Returns null if none of the keys opens it.
 *
 * @throws BAD_MESSAGE if the content names another letter, writer or receiver than the outside. Somebody has then
 *   signed what another had sealed
 */
export function openLetter(letter: Letter, keys: Iterable<BoxKeyPair>): Content | null {
  for (const key of keys) {
    const padded = unseal(letter.box, key)
    if (padded) return decodeContent(unpad(padded), letter)
  }
  return null
}

/**
 * Encodes the body of a letter.
 *
 * @throws TOO_LARGE, USAGE
 */
export function letterBody(data: unknown): Body {
  let body: Body
  try {
    body = encodeBody(data)
  } catch (cause) {
    throw SeaportError.USAGE(`a letter is JSON or bytes: ${(cause as Error).message}`)
  }
  if (body.bytes.byteLength <= MAX_LETTER_BODY_BYTES) return body
  throw SeaportError.TOO_LARGE(
    `the body of a letter has at most ${MAX_LETTER_BODY_BYTES} bytes, not ${body.bytes.byteLength}; send it as a command, or where to fetch it`
  )
}

export function encodeLetter(letter: Letter): Buffer {
  const { id, from, to, sentAt, expiresAt, flags, box, signature } = letter
  const head = Buffer.alloc(HEAD_BYTES)
  head[0] = VERSION
  head[1] = flags
  head.write(id, 2, 'hex')
  head.write(from, 34, 'hex')
  head.write(to, 66, 'hex')
  head.writeUIntLE(sentAt, 98, 6)
  head.writeUIntLE(expiresAt, 104, 6)
  head.writeUInt32LE(box.byteLength, 110)
  return Buffer.concat([head, box, signature])
}

/**
 * Reads a letter. Checks its form, and neither its signature nor its dates.
 *
 * @throws BAD_MESSAGE
 */
export function decodeLetter(bytes: Buffer): Letter {
  return {
    ...decodeLetterHead(bytes),
    flags: bytes[1] as number,
    box: Buffer.from(bytes.subarray(HEAD_BYTES, -SIGNATURE_BYTES)),
    signature: Buffer.from(bytes.subarray(-SIGNATURE_BYTES))
  }
}

/**
 * Reads what a letter says of itself, without its content.
 *
 * @throws BAD_MESSAGE
 */
export function decodeLetterHead(bytes: Buffer): LetterHead {
  const boxLength = bytes.byteLength - HEAD_BYTES - SIGNATURE_BYTES
  if (bytes[0] !== VERSION || bytes.byteLength > MAX_LETTER_BYTES || boxLength < SEAL_BYTES) {
    throw SeaportError.BAD_MESSAGE('this is no letter')
  }
  if (bytes.readUInt32LE(110) !== boxLength || !isPaddedLength(boxLength - SEAL_BYTES)) {
    throw SeaportError.BAD_MESSAGE('a letter whose length is not what it says')
  }
  return {
    id: bytes.toString('hex', 2, 34),
    from: bytes.toString('hex', 34, 66),
    to: bytes.toString('hex', 66, 98),
    sentAt: bytes.readUIntLE(98, 6),
    expiresAt: bytes.readUIntLE(104, 6)
  }
}

/** Whether the bytes of a letter, not checked yet, name a key as its writer. */
export function isLetterOf(bytes: Buffer, key: Buffer): boolean {
  return bytes.subarray(34, 66).equals(key)
}

type Inside = Content & Pick<Letter, 'id' | 'from' | 'to'>

function encodeContent({ id, from, to, type, body }: Inside): Buffer {
  const name = Buffer.from(type)
  const shape = Buffer.from([KINDS.indexOf(body.kind), name.byteLength])
  return Buffer.concat([Buffer.from(id + from + to, 'hex'), shape, name, body.bytes])
}

/** @throws BAD_MESSAGE */
function decodeContent(bytes: Buffer, { id, from, to }: Letter): Content {
  if (bytes.toString('hex', 0, 96) !== id + from + to) {
    throw SeaportError.BAD_MESSAGE('a letter that does not say inside what it says outside')
  }
  const kind = KINDS[bytes[96] ?? KINDS.length]
  const end = 98 + (bytes[97] ?? 0)
  const type = bytes.toString('latin1', 98, end)
  const body = bytes.subarray(end)
  if (!kind || end > bytes.byteLength || !(type === '' || isName(type))) {
    throw SeaportError.BAD_MESSAGE('a letter whose content cannot be read')
  }
  if (body.byteLength > MAX_LETTER_BODY_BYTES || (kind === 'none' && body.byteLength > 0)) {
    throw SeaportError.BAD_MESSAGE('a letter with too long a body')
  }
  return { type, body: { kind, bytes: Buffer.from(body) } }
}

/**
 * Pads content to 256 bytes times a power of two, after its length, so that the size of a letter tells others little.
 */
function pad(content: Buffer): Buffer {
  let length = MIN_PADDED_BYTES
  while (length < content.byteLength + 4) length *= 2
  if (length > MAX_PADDED_BYTES) {
    throw SeaportError.TOO_LARGE(`the body of a letter has at most ${MAX_LETTER_BODY_BYTES} bytes`)
  }
  const padded = Buffer.alloc(length)
  padded.writeUInt32LE(content.byteLength, 0)
  content.copy(padded, 4)
  return padded
}

/** @throws BAD_MESSAGE */
function unpad(padded: Buffer): Buffer {
  const length = padded.readUInt32LE(0)
  if (length + 4 > padded.byteLength || length < 98) {
    throw SeaportError.BAD_MESSAGE('a letter whose content has no end')
  }
  return padded.subarray(4, 4 + length)
}

function isPaddedLength(length: number): boolean {
  return length >= MIN_PADDED_BYTES && length <= MAX_PADDED_BYTES && (length & (length - 1)) === 0
}
