import { SeaportError } from './errors.js'
import { announcedLength, type SecretStream } from './holepunch.js'

/** The longest message that each connection may be sent, in bytes. */
const frameLimits = new WeakMap<SecretStream, number>()
/** What encryption adds to a message. */
const SEAL_BYTES = 17
/** How long the rest of a message that is too long is read and thrown away before its connection is cut, in ms. */
const LINGER_MS = 2000

/**
 * Cuts a connection with BAD_MESSAGE on which a message of more than so many bytes is announced, and gathers nothing
 * of it. The connection itself would gather up to 16 MiB before anybody sees a byte of them. A message that comes
 * whole, in one read of the socket, may be longer and still be seen. Called again, it sets another limit.
 *
 * What comes of such a message is thrown away for a moment before the cut. A socket that is closed with bytes unread
 * is reset, and what was sent just before, on other streams, would be lost on its way (RFC 2525, 2.17).
 */
export function limitFrames(connection: SecretStream, byteLength: number) {
  const isWatched = frameLimits.has(connection)
  frameLimits.set(connection, byteLength + SEAL_BYTES)
  if (isWatched) return
  const isOver = () =>
    announcedLength(connection) > (frameLimits.get(connection) ?? 0) && !connection.destroying
  const check = () => {
    if (isOver()) setImmediate(cutMaybe)
  }
  let isCut = false
  // What came before may still wait to be read, and raise the limit.
  const cutMaybe = () => {
    if (isCut || !isOver()) return
    isCut = true
    throwAway(connection, announcedLength(connection))
  }
  // This has to come after the connection's own listener, which is there as soon as bytes can come.
  const watch = () => {
    connection.rawStream.on('data', check)
    check()
  }
  if (connection.rawStream?.listenerCount('data') > 0) watch()
  else connection.once('connect', watch)
}

/** Lets nothing more get to a connection, and cuts it soon. */
function throwAway(connection: SecretStream, byteLength: number) {
  const { rawStream } = connection
  const cut = () =>
    connection.destroy(SeaportError.BAD_MESSAGE(`a message of ${byteLength} bytes was announced`))
  const timer = setTimeout(cut, LINGER_MS)
  let left = byteLength
  connection.on('close', () => clearTimeout(timer))
  rawStream.removeAllListeners('data')
  rawStream.on('data', (bytes: Buffer) => {
    left -= bytes.byteLength
    if (left <= 0) cut()
  })
  rawStream.resume()
}
