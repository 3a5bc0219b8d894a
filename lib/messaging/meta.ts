import { SeaportError } from '../core/errors.js'
import { isPrintable } from '../core/printable.js'

/** What goes along with a call. */
export interface Meta {
  /** On whose behalf the caller calls, by a gateway's word. */
  principal?: string
  /** The call's place in a distributed trace (W3C Trace Context). */
  traceparent?: string
}

/** The largest meta of a call as JSON, in bytes. */
export const MAX_META_BYTES = 4096
const MAX_PRINCIPAL_LENGTH = 256
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const NONE: Meta = Object.freeze({})

/**
 * Checks the meta of a call that is to be sent.
 *
 * @throws USAGE for what is no JSON or too large: the other side would cut the conversation with all calls in it
 */
export function checkMeta(meta: Meta): Meta {
  let size = Infinity
  try {
    size = Buffer.byteLength(JSON.stringify(meta))
  } catch {}
  if (size <= MAX_META_BYTES) return meta
  throw SeaportError.USAGE(
    `the meta of a command is JSON of at most ${MAX_META_BYTES} bytes`
  ).withExecuted('no')
}

/**
 * Reads the meta of a call. Unknown and malformed fields are left out.
 *
 * @throws BAD_MESSAGE for what is no JSON
 */
export function parseMeta(bytes: Buffer): Meta {
  if (bytes.byteLength === 0) return NONE
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('a call whose meta is no JSON', cause)
  }
  const { principal, traceparent } = (value ?? {}) as { [field: string]: unknown }
  return {
    ...(isPrincipal(principal) && { principal }),
    ...(isTraceparent(traceparent) && { traceparent })
  }
}

export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && TRACEPARENT.test(value)
}

function isPrincipal(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_PRINCIPAL_LENGTH && isPrintable(value)
}
