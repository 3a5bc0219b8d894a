import { EventEmitter, once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Types of frames (RFC 9113 §6). */
export const DATA = 0
export const HEADERS = 1
export const RST_STREAM = 3
export const SETTINGS = 4
export const GOAWAY = 7
export const WINDOW_UPDATE = 8
export const CONTINUATION = 9
export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const HEAD_BYTES = 9

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

/** HTTP/2 frame by frame, for what a peer that keeps to the rules would never send. Emits `frame`. */
export class Frames extends EventEmitter {
  readonly socket: Socket
  readonly seen: Frame[] = []
  #rest: Buffer = Buffer.alloc(0)

  /** @param preface how many bytes the other side sends before its first frame */
  constructor(socket: Socket, preface = 0) {
    super()
    this.socket = socket
    let left = preface
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      const skipped = Math.min(left, bytes.byteLength)
      left -= skipped
      this.#take(bytes.subarray(skipped))
    })
    socket.on('close', () => this.emit('close'))
  }

  /** The side of a server: sends its settings, and reads those of its client. */
  static serve(socket: Socket): Frames {
    const frames = new Frames(socket, PREFACE.length)
    frames.send({ type: SETTINGS })
    return frames
  }

  /** Sends the preface and settings, and acknowledges those of the server unless told otherwise. */
  static async connect(t: Test, port: number, { isAcknowledging = true } = {}): Promise<Frames> {
    const socket = connect({ port, host: '127.0.0.1' })
    t.teardown(() => socket.destroy())
    const frames = new Frames(socket)
    await once(socket, 'connect')
    socket.write(PREFACE)
    frames.send({ type: SETTINGS })
    frames.on('frame', ({ type, flags }: Frame) => {
      if (type === SETTINGS && flags === 0 && isAcknowledging) {
        frames.send({ type: SETTINGS, flags: ACK })
      }
    })
    return frames
  }

  send({ type, flags = 0, stream = 0, payload = Buffer.alloc(0) }: Partial<Frame>) {
    const head = Buffer.alloc(HEAD_BYTES)
    head.writeUIntBE(payload.byteLength, 0, 3)
    head.writeUInt8(type as number, 3)
    head.writeUInt8(flags, 4)
    head.writeUInt32BE(stream, 5)
    this.socket.write(Buffer.concat([head, payload]))
  }

  /** Sends a head, in one frame. */
  head(stream: number, fields: Record<string, string>, { isEnd = false } = {}) {
    const flags = END_HEADERS | (isEnd ? END_STREAM : 0)
    this.send({ type: HEADERS, flags, stream, payload: pack(fields) })
  }

  request(stream: number, method: string, path: string, fields = {}, options = {}) {
    const target = {
      ':method': method,
      ':scheme': 'http',
      ':authority': 'localhost',
      ':path': path
    }
    this.head(stream, { ...target, ...fields }, options)
  }

  data(stream: number, text: string, { isEnd = false } = {}) {
    this.send({ type: DATA, flags: isEnd ? END_STREAM : 0, stream, payload: Buffer.from(text) })
  }

  reset(stream: number, code: number) {
    const payload = Buffer.alloc(4)
    payload.writeUInt32BE(code)
    this.send({ type: RST_STREAM, stream, payload })
  }

  /** Resolves with the first frame that fits, of those that came and those that come. */
  async whenSeen(fits: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const seen = this.seen.find(fits)
      if (seen) return seen
      await once(this, 'frame')
    }
  }

  /** Resolves when an answer has ended. */
  async whenEnded(stream: number): Promise<void> {
    const isLast = ({ type, flags }: Frame) =>
      (type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0
    await this.whenSeen((frame) => frame.stream === stream && isLast(frame))
  }

  #take(bytes: Buffer) {
    this.#rest = Buffer.concat([this.#rest, bytes])
    while (this.#rest.byteLength >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#rest.readUIntBE(0, 3)
      if (this.#rest.byteLength < end) return
      const frame = {
        type: this.#rest.readUInt8(3),
        flags: this.#rest.readUInt8(4),
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(HEAD_BYTES, end)
      }
      this.#rest = this.#rest.subarray(end)
      this.seen.push(frame)
      this.emit('frame', frame)
    }
  }
}

/** Fields as literals, not indexed and not compressed (RFC 7541 §6.2.2). */
export function pack(fields: Record<string, string>): Buffer {
  const parts = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.from([0]),
    text(name),
    text(value)
  ])
  return Buffer.concat(parts)
}

/** A text with its length, which is a number with a prefix of seven bits (RFC 7541 §5.1). */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  const length = [Math.min(bytes.byteLength, 127)]
  if (bytes.byteLength >= 127) {
    let rest = bytes.byteLength - 127
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}
