import { SeaportError } from '../../core/errors.js'
import { executedOf } from '../../core/executed.js'
import type { Body } from '../body.js'
import type { Meta } from '../meta.js'
import { parseMeta } from '../meta.js'
import { isName } from '../names.js'
import { MAX_LETTER_BODY_BYTES } from './letter.js'

/** The types of letters that carry a command, or the answer to one. */
export const CALL_LETTER = '$call'
export const ANSWER_LETTER = '$answer'

/** A command as a letter carries it. */
export interface LetterCall {
  name: string
  meta: Meta
  body: Body
}

/** The outcome of a command, as a letter carries it. */
export interface LetterAnswer {
  /** The id of the letter that carried the command. */
  id: string
  /** The answer; null if the command failed. */
  body: Body | null
  error: SeaportError | null
}

const KINDS: readonly Body['kind'][] = ['none', 'json', 'bytes']
const MAX_TEXT_LENGTH = 2000
const ID = /^[0-9a-f]{64}$/
const NONE: Body = { kind: 'none', bytes: Buffer.alloc(0) }

/** @throws TOO_LARGE */
export function encodeCall({ name, meta, body }: LetterCall): Body {
  return encode({ name, meta, kind: body.kind }, body)
}

/** @throws BAD_MESSAGE */
export function decodeCall(letter: Body): LetterCall {
  const { head, body } = decode(letter)
  const { name, meta } = head
  if (!isName(name)) throw SeaportError.BAD_MESSAGE('a letter with a command that has no name')
  return { name, meta: parseMeta(Buffer.from(JSON.stringify(meta ?? {}))), body }
}

/** @throws TOO_LARGE */
export function encodeAnswer(id: string, body: Body): Body {
  return encode({ id, kind: body.kind }, body)
}

export function encodeFailure(id: string, error: SeaportError): Body {
  const { code, executed = 'perhaps', handlerCode = '' } = error
  const text = error.text.slice(0, MAX_TEXT_LENGTH)
  return encode({ id, kind: 'none', code, executed, handlerCode, text }, NONE)
}

/** @throws BAD_MESSAGE */
export function decodeAnswer(letter: Body): LetterAnswer {
  const { head, body } = decode(letter)
  const { id, code, executed, handlerCode, text } = head
  if (typeof id !== 'string' || !ID.test(id)) {
    throw SeaportError.BAD_MESSAGE('a letter with an answer to nothing')
  }
  if (code === undefined) return { id, body, error: null }
  const error = SeaportError.remote(`${code}`, `${text}`)
  return { id, body: null, error: error.withExecuted(executedOf(executed), nameOf(handlerCode)) }
}

/** Encodes the length of the head (4 bytes, little-endian), the head as JSON, and the body. */
function encode(head: object, { bytes }: Body): Body {
  const json = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.byteLength, 0)
  const all = Buffer.concat([length, json, bytes])
  if (all.byteLength <= MAX_LETTER_BODY_BYTES) return { kind: 'bytes', bytes: all }
  throw SeaportError.TOO_LARGE(
    `what goes by letter has at most ${MAX_LETTER_BODY_BYTES} bytes, not ${all.byteLength}`
  )
}

/** @throws BAD_MESSAGE */
function decode({ bytes }: Body): { head: { [field: string]: unknown }; body: Body } {
  const end = bytes.byteLength >= 4 ? 4 + bytes.readUInt32LE(0) : Infinity
  if (end > bytes.byteLength) throw SeaportError.BAD_MESSAGE('a letter whose head has no end')
  let head: unknown
  try {
    head = JSON.parse(bytes.toString('utf8', 4, end))
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('a letter whose head is no JSON', cause)
  }
  if (typeof head !== 'object' || head === null) {
    throw SeaportError.BAD_MESSAGE('a letter whose head says nothing')
  }
  const fields = head as { [field: string]: unknown }
  const kind = KINDS.find((kind) => kind === fields.kind)
  if (!kind) throw SeaportError.BAD_MESSAGE('a letter with a body of an unknown kind')
  return { head: fields, body: { kind, bytes: Buffer.from(bytes.subarray(end)) } }
}

function nameOf(text: unknown): string {
  return typeof text === 'string' && /^[A-Z][A-Z0-9_]{0,39}$/.test(text) ? text : ''
}
