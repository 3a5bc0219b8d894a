import type { Duplex } from 'node:stream'

/** How long the other side may take to close as well. */
const LINGER_MS = 1000

/**
 * Ends a connection that was only made to see who is there. A server that greets us, and finds us gone,
 * would get a reset; one that does not expect that dies of our curiosity.
 */
export function leave(stream: Duplex) {
  if (stream.destroyed) return
  stream.on('error', () => {})
  const timer = setTimeout(() => stream.destroy(), LINGER_MS)
  stream.on('close', () => clearTimeout(timer))
  stream.end()
  stream.resume()
}
