import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import { cut } from './pipe.js'
import type { Sink } from './sink.js'
import type { LinkStream } from './stream.js'

/**
 * Joins a stream of a link with a socket, each way until its own end: when one side has ended, the other
 * may still answer. When one is cut before both directions have ended, so is the other; a TCP socket then
 * sends RST, as its peer would have seen without us. The socket must allow half-open.
 *
 * Resolves when both are closed; with what cut them, or null if they ended in order. Never rejects.
 */
export function splice(stream: LinkStream, socket: Duplex): Promise<Error | null> {
  return new Promise((resolve) => new Joint(stream, socket, resolve))
}

/** What `pipe` both ways would do, without a stream of Node's in between. */
class Joint implements Sink {
  readonly #stream: LinkStream
  readonly #socket: Duplex
  #resolve: ((reason: Error | null) => void) | null
  #reason: Error | null = null
  #isStreamClosed = false
  #isOver = false

  constructor(stream: LinkStream, socket: Duplex, resolve: (reason: Error | null) => void) {
    this.#stream = stream
    this.#socket = socket
    this.#resolve = resolve
    socket.on('error', noop)
    socket.on('close', () => this.#onsocketclose())
    if (socket.destroyed) stream.destroy(this.#explain())
    socket.on('drain', () => stream.resume())
    socket.on('end', () => stream.end())
    stream.attach(this)
    stream.resume()
    // A socket that ended without a byte before it was joined says so once only, and not to us.
    if (socket.readableEnded) stream.end()
    socket.on('data', (chunk: Buffer) => {
      if (!stream.write(chunk)) socket.pause()
    })
  }

  ondata(bytes: Buffer): boolean {
    return this.#socket.write(bytes)
  }

  onend() {
    const socket = this.#socket
    // Both directions are over. To close the socket now tells its peer as much as to shut it down first.
    this.#isOver = socket instanceof Socket && socket.readableEnded && socket.writableLength === 0
    if (this.#isOver) socket.destroy()
    else socket.end()
  }

  ondrain() {
    this.#socket.resume()
  }

  onclose(reason: SeaportError | null) {
    this.#isStreamClosed = true
    if (reason) {
      this.#reason ??= reason
      cut(this.#socket, reason)
    }
    if (this.#socket.closed) this.#settle()
  }

  #onsocketclose() {
    const { readableEnded, writableFinished } = this.#socket
    if (!this.#isOver && !(readableEnded && writableFinished)) {
      this.#reason ??= this.#explain()
      this.#stream.destroy(this.#reason)
    }
    if (this.#isStreamClosed) this.#settle()
  }

  /** Resolves once. To resolve a promise again would change nothing, but it takes V8 long. */
  #settle() {
    this.#resolve?.(this.#reason)
    this.#resolve = null
  }

  #explain(): Error {
    return (
      this.#socket.errored ?? SeaportError.STREAM_RESET('the connection was cut before its end')
    )
  }
}

function noop() {}
