import type { Duplex } from 'node:stream'

/** How long the other side may take to close as well. */
const LINGER_MS = 1000

/**
 * Ends a connection that was only made to see whether somebody listens. It ends with FIN, because a server that greets
 * whoever connects would be reset otherwise, and some crash on that.
 */
export function leave(stream: Duplex) {
  if (stream.destroyed) return
  stream.on('error', () => {})
  const timer = setTimeout(() => stream.destroy(), LINGER_MS)
  stream.on('close', () => clearTimeout(timer))
  stream.end()
  stream.resume()
}
