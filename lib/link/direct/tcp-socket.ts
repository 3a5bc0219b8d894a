import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { MEMORY } from '../memory.js'

/** Small reads go here. All sockets share it, since what comes is copied out of it before the next read. */
const SHARED = Buffer.allocUnsafeSlow(64 * 1024)
/** Where the next read goes when so much waits for readers already that little more should be taken. */
const SMALL = SHARED.subarray(0, 16 * 1024)
/** The largest read, for sockets that bring much at a time. */
const MAX_READ_BYTES = 256 * 1024
/** What Node's types lack. The documentation has `onread`; a server makes its sockets with `handle`. */
interface Options extends SocketConstructorOpts {
  onread: OnReadOpts
  handle?: unknown
}

/** A socket of a server, which Node reads for. */
interface Accepted extends Socket {
  _handle?: unknown
}

/**
 * Makes a socket, to be connected, that reads as much at a time as comes, up to 256 KiB: Node alone reads
 * 64 KiB, and spends as much on each read as on copying them. To its user it is like any other.
 */
export function tcpSocket(): Socket {
  return make({})
}

/**
 * Makes such a socket of one that a server accepted. The accepted one is an empty shell from then on. It is closed
 * together with the new socket, since its server waits for it when that closes.
 */
export function adopt(accepted: Socket): Socket {
  const shell: Accepted = accepted
  const handle = shell._handle
  // The socket is destroyed, or a later Node keeps its handle elsewhere. Then the socket works as well, but slower.
  if (!handle) return shell
  const socket = make({ handle })
  socket.allowHalfOpen = shell.allowHalfOpen
  const read: Buffer | null = shell.read()
  if (read) socket.unshift(read)
  shell._handle = null
  socket.on('close', () => shell.destroy())
  shell.on('close', () => socket.destroy())
  return socket
}

function make(origin: { handle?: unknown }): Socket {
  const intake = new Intake()
  let socket: Socket | undefined
  // Frozen: what V8 11 does with a copy of what is not takes 8 µs more, see `bin/engine.ts`.
  const options: Options = Object.freeze({
    ...origin,
    onread: {
      buffer: () => intake.next(socket?.isPaused() === true),
      callback: (byteLength: number) => (socket as Socket).push(intake.take(byteLength))
    }
  })
  socket = new Socket(options)
  return socket
}

/** Where the next read of one socket goes. */
class Intake {
  #buffer: Buffer = SHARED
  /** How large the buffer for the next read should be; one for its own sake is larger than the shared one. */
  #size = SHARED.byteLength
  /** Whether the buffer went to the socket's user with what was read. */
  #isSpent = false

  /** A socket that is held back keeps no buffer for what it will read: it may be so for long, and many others with it. */
  next(isHeldBack: boolean): Buffer {
    if (MEMORY.isTight || isHeldBack) this.#size = SHARED.byteLength
    if (this.#size === SHARED.byteLength) this.#buffer = MEMORY.isScarce ? SMALL : SHARED
    else if (this.#isSpent || this.#size > this.#buffer.byteLength)
      this.#buffer = Buffer.allocUnsafeSlow(this.#size)
    this.#isSpent = false
    return this.#buffer
  }

  /** What was read, which is nobody else's. */
  take(byteLength: number): Buffer {
    const buffer = this.#buffer
    // A slice keeps its whole buffer alive. For less than half of one, a copy is better.
    const isWorthIt = buffer.buffer !== SHARED.buffer && byteLength >= buffer.byteLength / 2
    if (byteLength === buffer.byteLength) this.#size = sizeAfter(byteLength)
    else if (!isWorthIt) this.#size = SHARED.byteLength
    this.#isSpent = isWorthIt
    if (isWorthIt) return buffer.subarray(0, byteLength)
    const copy = Buffer.allocUnsafe(byteLength)
    buffer.copy(copy, 0, 0, byteLength)
    return copy
  }
}

/** A read that was filled is followed by one of twice its size. */
function sizeAfter(byteLength: number): number {
  return Math.min(Math.max(2 * byteLength, SHARED.byteLength), MAX_READ_BYTES)
}
