import type { Socket } from 'node:net'
import type { SecretStream } from '../../lib/core/holepunch.js'

/** Joins a socket and a connection, each way until its own end, and never faster than the other reads. */
export function pipe(socket: Socket, connection: SecretStream) {
  let hasEnded = false
  socket.on('data', (chunk) => {
    if (!connection.write(chunk)) socket.pause()
  })
  connection.on('drain', () => socket.resume())
  socket.on('end', () => connection.end())

  connection.on('data', (chunk: Buffer) => {
    if (!socket.write(chunk)) connection.pause()
  })
  socket.on('drain', () => connection.resume())
  connection.on('end', () => {
    hasEnded = true
    socket.end()
  })

  socket.on('error', () => connection.destroy())
  connection.on('error', () => {})
  connection.on('close', () => {
    if (!hasEnded) socket.destroy()
  })
}
