import { SeaportError } from '../core/errors.js'

/** The body of a call, an answer or an event: JSON, bytes or nothing. */
export interface Body {
  kind: 'none' | 'json' | 'bytes'
  bytes: Buffer
}

/** A value that was serialized as JSON already. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** The largest body, of any kind, unless an option says otherwise. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024
/** The most that the option may say. */
export const MAX_BODY_LIMIT_BYTES = 64 * 1024 * 1024
/** Deeper JSON is refused, because code that walks through it by recursion would run out of stack. */
export const MAX_DEPTH = 256

export const NO_BODY: Body = { kind: 'none', bytes: Buffer.alloc(0) }
const BACKSLASH = 0x5c
const QUOTE = 0x22

/**
 * Encodes a value as a body.
 *
 * @throws TypeError for a value that JSON cannot express, such as a cycle or a BigInt
 */
export function encodeBody(value: unknown): Body {
  if (value === undefined) return NO_BODY
  if (value instanceof Uint8Array) {
    return { kind: 'bytes', bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength) }
  }
  const json = value instanceof JsonText ? value.text : JSON.stringify(value)
  if (json === undefined) throw new TypeError(`${typeof value} is no JSON`)
  return { kind: 'json', bytes: Buffer.from(json) }
}

/**
 * A copy, for callers that keep a body: the bytes of a received body are part of a larger buffer, which would stay in
 * memory with them.
 */
export function copyOf({ kind, bytes }: Body): Body {
  return { kind, bytes: Buffer.from(bytes) }
}

/**
 * Reads a body.
 *
 * @throws BAD_MESSAGE for bytes that are not valid JSON, or JSON that is too deep
 */
export function decodeBody({ kind, bytes }: Body): unknown {
  if (kind === 'none') return undefined
  // It is copied, because it is part of a larger buffer, which would stay in memory with it.
  if (kind === 'bytes') return Buffer.from(bytes)
  checkDepth(bytes)
  try {
    return JSON.parse(bytes.toString())
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('a body that is no JSON', cause)
  }
}

/**
 * Checks how deep JSON is nested, by counting open brackets outside of strings.
 *
 * @throws BAD_MESSAGE
 */
export function checkDepth(bytes: Buffer, max = MAX_DEPTH) {
  if (bytes.byteLength <= max) return
  let depth = 0
  let isInString = false
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i] as number
    if (isInString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) isInString = false
    } else if (byte === QUOTE) isInString = true
    // This matches both [ and {, which differ in one bit (as ] and } do).
    else if ((byte & 0xdf) === 0x5b && ++depth > max) {
      throw SeaportError.BAD_MESSAGE(`JSON that is deeper than ${max}`)
    } else if ((byte & 0xdf) === 0x5d) depth--
  }
}
