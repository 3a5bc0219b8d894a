import { EventEmitter } from 'node:events'
import type { SecretStream } from '../../lib/core/holepunch.js'

/**
 * One end of a connection in memory, as the stack's own streams look to those who use them, without the
 * encryption: whatever is fed to it was, for them, sent by the other side.
 */
export class Line extends EventEmitter {
  readonly isInitiator: boolean
  readonly publicKey: Buffer
  readonly remotePublicKey: Buffer
  readonly handshakeHash = Buffer.alloc(64, 7)
  readonly rawStream = Object.assign(new EventEmitter(), {
    connected: true,
    remoteHost: '127.0.0.1',
    remotePort: 1,
    rtt: 1
  })
  readonly keepAlive = 1
  readonly connected = true
  readonly opened = Promise.resolve(true)
  readonly _writableState = { queue: { length: 0 } }
  rawBytesRead = 0
  rawBytesWritten = 0
  destroying = false
  destroyed = false
  userData: unknown = null
  /** What was said here. */
  readonly said: Buffer[] = []
  /** Hears it, if anybody does. */
  other: Line | null = null

  constructor(isInitiator: boolean) {
    super()
    this.isInitiator = isInitiator
    this.publicKey = Buffer.alloc(32, isInitiator ? 1 : 2)
    this.remotePublicKey = Buffer.alloc(32, isInitiator ? 2 : 1)
  }

  /** Two ends that hear each other. */
  static pair(): [initiator: Line, responder: Line] {
    const ends: [Line, Line] = [new Line(true), new Line(false)]
    ends[0].other = ends[1]
    ends[1].other = ends[0]
    return ends
  }

  /** Hypercore's name for it. */
  get noiseStream(): Line {
    return this
  }

  /** As those take it who use it. */
  get stream(): SecretStream {
    return this as unknown as SecretStream
  }

  /** The other side sent this. */
  feed(message: Buffer) {
    if (this.destroying) return
    this.rawBytesRead += message.byteLength
    this.emit('data', message)
  }

  write(data: Uint8Array): boolean {
    if (this.destroying) return false
    const message = Buffer.from(data)
    this.said.push(message)
    const { other } = this
    if (other) queueMicrotask(() => other.feed(message))
    return true
  }

  pause() {}
  resume() {}
  setKeepAlive() {}
  setTimeout() {}
  sendKeepAlive() {}

  end() {
    this.destroy()
  }

  destroy(error?: Error) {
    if (this.destroying) return
    this.destroying = true
    // Later, as with streams.
    process.nextTick(() => {
      this.destroyed = true
      if (error) this.emit('error', error)
      this.emit('close')
    })
  }
}

/** Lets all that was put off until the end of this turn happen. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
