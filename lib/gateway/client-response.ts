import type { ServerResponse } from 'node:http'
import { constants, type Http2ServerResponse } from 'node:http2'

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
  const { writableFinished, aborted, rstCode } = response.stream
  return writableFinished && !aborted && rstCode === constants.NGHTTP2_NO_ERROR
}

/** Whether nothing of it can be sent any more. */
export function isClosed(response: ServerResponse): boolean {
  return isHttp2Response(response) ? response.stream.destroyed : response.closed
}

/** Resolves when nothing of it can be sent any more. */
export function whenClosed(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (isClosed(response)) resolve()
    else response.once('close', resolve)
  })
}
