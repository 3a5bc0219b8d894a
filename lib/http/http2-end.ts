import type { Http2Stream } from 'node:http2'

/** Streams that the other side has ended. */
const ended = new WeakSet<Http2Stream>()

/**
 * Watches how a stream ends. To a reader, node:http2 shows a stream that was reset with NO_ERROR as one that was ended,
 * though what came of it may be half a message. Only the END_STREAM flag ends a message (RFC 9113 §8.1).
 *
 * @param onreset called when the stream was reset with NO_ERROR before it was ended
 */
export function watchEnd(stream: Http2Stream, onreset: () => void = () => {}) {
  const { closed, destroyed, endAfterHeaders, state } = stream
  if (endAfterHeaders || state?.remoteClose === 1) ended.add(stream)
  else if (closed && !destroyed) onreset()
  const { push } = stream
  // A stream is marked as closed before its reading side is ended because of a reset, and after that because of the flag.
  stream.push = (chunk, encoding) => {
    if (chunk === null && !stream.closed) ended.add(stream)
    const isReset = chunk === null && !ended.has(stream) && !stream.destroyed
    const hasRoom = push.call(stream, chunk, encoding)
    if (isReset) onreset()
    return hasRoom
  }
}

/** Whether the other side has ended a stream that is watched, so that what it sent is whole. */
export function hasEnd(stream: Http2Stream): boolean {
  return ended.has(stream)
}
