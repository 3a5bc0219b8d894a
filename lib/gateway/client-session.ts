import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { KEEP_ALIVE_TIMEOUT_MS } from './gateway-server.js'

export interface ClientSessionOptions {
  /** How long nothing may come or go, in ms. */
  idleTimeout?: number
  /** How long a client may take to answer a ping, in ms. */
  pingTimeout?: number
}

const PING_TIMEOUT_MS = 10_000

/**
 * Ends a client's session of HTTP/2 over which nothing comes or goes any more: at once if no request is under way, and
 * else if the client does not answer a ping. A client that breaks the rules of HTTP/2 is sent a GOAWAY, after which
 * node:http2 reads and writes nothing, yet keeps the session, its connection and its requests, and tells nobody.
 */
export function endWhenIdle(
  session: ServerHttp2Session,
  { idleTimeout = KEEP_ALIVE_TIMEOUT_MS, pingTimeout = PING_TIMEOUT_MS }: ClientSessionOptions = {}
) {
  let underWay = 0
  session.on('stream', (stream: ServerHttp2Stream) => {
    underWay++
    stream.once('close', () => underWay--)
  })
  session.setTimeout(idleTimeout)
  session.on('timeout', () => {
    if (underWay === 0) return session.destroy()
    const timer = setTimeout(() => session.destroy(), pingTimeout)
    session.once('close', () => clearTimeout(timer))
    session.ping((error) => {
      clearTimeout(timer)
      if (!error) session.setTimeout(idleTimeout)
    })
  })
}
