import type { Duplex } from 'node:stream'
import type { SocketDuplex } from '../link/socket-duplex.js'
import { leave } from './leave.js'

/** Takes streams as `net.Server` and `http.Server` take sockets. */
export interface StreamServer {
  emit(event: 'connection', stream: Duplex): boolean
  /** Whether its streams may stay open when the other side has ended. */
  allowHalfOpen?: boolean
}

/**
 * Hands a stream to a server in this process, without a TCP port in between.
 *
 * @param remotePublicKey the consumer's process key: who it is. The server finds it on the socket.
 */
export function serve(server: StreamServer, stream: SocketDuplex, remotePublicKey: Buffer) {
  const socket = Object.assign(stream, { remotePublicKey })
  closeAsSocketsDo(socket)
  socket.allowHalfOpen = server.allowHalfOpen === true
  server.emit('connection', socket)
}

/**
 * Makes a stream close as a socket does. A socket that is destroyed without an error sends FIN, and its peer reads to
 * the end. A stream would be reset.
 */
function closeAsSocketsDo(stream: Duplex) {
  const { destroy } = stream
  let isLeaving = false
  stream.destroy = (error?: Error) => {
    const isOver = stream.readableEnded && stream.writableFinished
    if (error || isOver || isLeaving) return destroy.call(stream, error)
    isLeaving = true
    // Nobody reads what still arrives.
    stream.removeAllListeners('data')
    leave(stream)
    return stream
  }
}
