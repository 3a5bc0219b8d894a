import { SeaportError } from '../../core/errors.js'

/**
 * The frames by which members pass letters on, over the connections that they have to each other anyway. A frame is its
 * type (1 byte) and its fields. Unknown types are ignored.
 */
export type MemberFrame =
  | { type: 'seek'; question: string; to: string; hops: number }
  | { type: 'here'; question: string; to: string; distance: number }
  | { type: 'letter'; hops: number; letter: Buffer }
  | { type: 'taken'; id: string }
  | { type: 'receipt'; receipt: Buffer }
  | { type: 'no way'; id: string }

/** How many hops a letter or question goes at most. */
export const MAX_HOPS = 8
const TYPES = ['', 'seek', 'here', 'letter', 'taken', 'receipt', 'no way'] as const
export const QUESTION_BYTES = 8
const KEY_BYTES = 32

export function encodeMemberFrame(frame: MemberFrame): Buffer {
  const type = Buffer.from([TYPES.indexOf(frame.type)])
  switch (frame.type) {
    case 'seek':
      return concat(type, frame.question, frame.to, frame.hops)
    case 'here':
      return concat(type, frame.question, frame.to, frame.distance)
    case 'letter':
      return Buffer.concat([type, Buffer.from([frame.hops]), frame.letter])
    case 'receipt':
      return Buffer.concat([type, frame.receipt])
    default:
      return Buffer.concat([type, Buffer.from(frame.id, 'hex')])
  }
}

/**
 * Reads a frame. Returns null if its type is unknown.
 *
 * @throws BAD_MESSAGE
 */
export function decodeMemberFrame(bytes: Buffer): MemberFrame | null {
  const type = TYPES[bytes[0] ?? 0]
  const rest = bytes.subarray(1)
  switch (type) {
    case 'seek':
    case 'here': {
      checkLength(rest, QUESTION_BYTES + KEY_BYTES + 1)
      const question = rest.toString('hex', 0, QUESTION_BYTES)
      const to = rest.toString('hex', QUESTION_BYTES, QUESTION_BYTES + KEY_BYTES)
      const count = Math.min(rest[QUESTION_BYTES + KEY_BYTES] as number, MAX_HOPS)
      return type === 'seek'
        ? { type, question, to, hops: count }
        : { type, question, to, distance: count }
    }
    case 'letter':
      return { type, hops: Math.min(rest[0] ?? 0, MAX_HOPS), letter: rest.subarray(1) }
    case 'receipt':
      return { type, receipt: rest }
    case 'taken':
    case 'no way':
      checkLength(rest, KEY_BYTES)
      return { type, id: rest.toString('hex') }
    default:
      return null
  }
}

function concat(type: Buffer, question: string, to: string, count: number): Buffer {
  return Buffer.concat([type, Buffer.from(question + to, 'hex'), Buffer.from([count])])
}

function checkLength(bytes: Buffer, length: number) {
  if (bytes.byteLength !== length)
    throw SeaportError.BAD_MESSAGE('a frame of mail of a wrong length')
}
