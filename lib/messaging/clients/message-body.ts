import { SeaportError } from '../../core/errors.js'
import { type Body, checkDepth, encodeBody } from '../body.js'
import { MAX_MESSAGE_BYTES } from './channel-frames.js'

/**
 * Encodes what a service sends to browsers.
 *
 * @throws BAD_OUTPUT, TOO_LARGE
 */
export function bodyOf(type: string, data: unknown): Body {
  let body: Body
  try {
    body = encodeBody(data)
    if (body.kind === 'json') checkDepth(body.bytes)
  } catch (error) {
    const text = `the message ${type} cannot be sent: ${(error as Error).message}`
    throw SeaportError.BAD_OUTPUT(text, error)
  }
  if (body.bytes.byteLength <= MAX_MESSAGE_BYTES) return body
  throw SeaportError.TOO_LARGE(
    `the message ${type} has ${body.bytes.byteLength} bytes, at most ${MAX_MESSAGE_BYTES} are allowed`
  )
}
