import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'

/**
 * Joins two byte streams, each way until its own end: when one side has ended, the other may still
 * answer. When one is cut before both directions have ended, so is the other; a TCP socket then sends
 * RST, as its peer would have seen without us. Both must allow half-open.
 *
 * Resolves when both are closed; with what cut them, or null if they ended in order. Never rejects.
 */
export function pipe(a: Duplex, b: Duplex): Promise<Error | null> {
  let reason: Error | null = null
  const watch = (stream: Duplex, other: Duplex) =>
    new Promise<void>((resolve) => {
      const onclose = () => {
        if (!isOver(stream)) {
          reason ??=
            stream.errored ?? SeaportError.STREAM_RESET('the connection was cut before its end')
          cut(other, reason)
        }
        resolve()
      }
      stream.on('error', () => {})
      if (stream.closed) onclose()
      else stream.on('close', onclose)
    })
  const closed = Promise.all([watch(a, b), watch(b, a)])
  if (!a.destroyed && !b.destroyed) {
    a.pipe(b)
    b.pipe(a)
  }
  return closed.then(() => reason)
}

/**
 * Gives a stream away. Resolves when it is closed; with what cut it, or null if it ended in order. Never
 * rejects: what the taker throws cuts the stream.
 */
export function handOver(stream: Duplex, take: () => void): Promise<Error | null> {
  return new Promise((resolve) => {
    stream.on('error', () => {})
    stream.on('close', () => {
      if (isOver(stream)) return resolve(null)
      resolve(stream.errored ?? SeaportError.STREAM_RESET('the connection was cut before its end'))
    })
    try {
      take()
    } catch (error) {
      cut(stream, error as Error)
    }
  })
}

/** Ends a stream at once, so that the far end can tell it from an orderly end. */
export function cut(stream: Duplex, reason: Error) {
  if (stream.destroyed) return
  if (!(stream instanceof Socket)) stream.destroy(reason)
  else if (isShuttingDown(stream)) stream.destroy()
  else stream.resetAndDestroy()
}

/** libuv does not reset a socket that is shutting down, and Node would then never close it. */
function isShuttingDown(socket: Socket): boolean {
  return socket.writableEnded && !socket.writableFinished
}

function isOver(stream: Duplex): boolean {
  return stream.readableEnded && stream.writableFinished
}
