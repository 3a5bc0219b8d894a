import type { Socket } from 'node:net'

/** How long a client may go on sending on a connection that was ended here, in ms. */
const LINGER_MS = 30_000

/**
 * Ends a connection. What the client still sends is read and dropped for a while (RFC 9112 §9.6): if the connection were
 * closed at once, the system would answer that with a reset, and the client might lose its answer.
 *
 * @param timeout in ms
 */
export function linger(socket: Socket, lastBytes = '', timeout = LINGER_MS) {
  const timer = setTimeout(() => socket.destroy(), timeout)
  socket.once('close', () => clearTimeout(timer))
  socket.end(lastBytes)
  socket.resume()
}
