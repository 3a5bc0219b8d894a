import type { ServerResponse } from 'node:http'
import { constants, type Http2ServerResponse } from 'node:http2'
import { watchEnd } from '../http/http2-end.js'

/*
 * How the answer to a client ends, over HTTP/1.1 and over HTTP/2 alike. The compatibility layer of node:http2 has
 * neither `closed` nor `destroyed`, and takes an answer that was reset for a finished one.
 */

export function isHttp2Response(response: unknown): response is Http2ServerResponse {
  return 'stream' in (response as object)
}

/** Whether the client got all of it, as far as that can be known. */
export function isSent(response: ServerResponse): boolean {
  if (!isHttp2Response(response)) return response.writableFinished
  const { headersSent, writableFinished, aborted, rstCode } = response.stream
  // With HEAD, node:http2 ends the writing side before there is an answer.
  return headersSent && writableFinished && !aborted && rstCode === constants.NGHTTP2_NO_ERROR
}

/** Whether nothing of it can be sent any more. */
export function isClosed(response: ServerResponse): boolean {
  return isHttp2Response(response) ? response.stream.destroyed : response.closed
}

/**
 * Makes an answer over HTTP/2 close as soon as its client resets the stream. By itself, node:http2 keeps a stream that
 * was reset with NO_ERROR until its answer ends, and closes no answer to HEAD that has not ended.
 */
export function closeWhenReset(response: ServerResponse) {
  if (!isHttp2Response(response)) return
  const { stream } = response
  const destroy = () => process.nextTick(() => stream.destroy())
  watchEnd(stream, destroy)
  stream.once('aborted', () => {
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR) destroy()
  })
  let hasClosed = false
  response.once('close', () => {
    hasClosed = true
  })
  stream.once('close', () => {
    if (!hasClosed) response.emit('close')
  })
}

/** Resolves when nothing of it can be sent any more. */
export function whenClosed(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (isClosed(response)) resolve()
    else response.once('close', resolve)
  })
}
