import { connect, type Socket } from 'node:net'

export interface LeanSocketOptions {
  port: number
  path: string
  protocol?: string | undefined
  onopen: (socket: LeanSocket) => void
  onmessage: (text: string) => void
  onclose: () => void
}

const TEXT = 1
const CLOSE = 8
const PING = 9
const PONG = 10
const MAX_SHORT = 125
const LENGTH_OF_TWO_BYTES = 126
const MASKED = 0x80
const FINAL = 0x80
const MASK_BYTES = 4
const HANDSHAKE_END = '\r\n\r\n'
const NONE = Buffer.alloc(0)

/** A WebSocket that costs next to nothing, so that what is measured is the server. It reads whole text frames only. */
export class LeanSocket {
  readonly #socket: Socket
  readonly #options: LeanSocketOptions
  #rest: Buffer = NONE
  #isOpen = false

  constructor(options: LeanSocketOptions) {
    this.#options = options
    const { port, path, protocol } = options
    const socket = connect(port, '127.0.0.1')
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('connect', () => {
      const lines = [
        `GET ${path} HTTP/1.1`,
        `Host: 127.0.0.1:${port}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : [])
      ]
      socket.write(lines.join('\r\n') + HANDSHAKE_END)
    })
    socket.on('data', (piece) => this.#take(piece))
    socket.on('error', () => {})
    socket.on('close', () => options.onclose())
  }

  send(text: string) {
    this.#write(TEXT, Buffer.from(text))
  }

  /** Reads no more. */
  pause() {
    this.#socket.pause()
  }

  destroy() {
    this.#socket.destroy()
  }

  #write(opcode: number, bytes: Buffer) {
    const length = bytes.byteLength
    const head =
      length <= MAX_SHORT
        ? [FINAL | opcode, MASKED | length]
        : [FINAL | opcode, MASKED | LENGTH_OF_TWO_BYTES, length >> 8, length & 0xff]
    // A mask of zeros leaves the bytes as they are.
    this.#socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(MASK_BYTES), bytes]))
  }

  #take(piece: Buffer) {
    let bytes = this.#rest.byteLength > 0 ? Buffer.concat([this.#rest, piece]) : piece
    if (!this.#isOpen) {
      const end = bytes.indexOf(HANDSHAKE_END)
      if (end >= 0 && !bytes.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) {
        this.#socket.destroy()
        return
      }
      if (end >= 0) {
        this.#isOpen = true
        bytes = bytes.subarray(end + HANDSHAKE_END.length)
        this.#options.onopen(this)
      }
    }
    this.#rest = this.#isOpen ? this.#readFrames(bytes) : bytes
  }

  /** @returns what is not a whole frame yet */
  #readFrames(bytes: Buffer): Buffer {
    let at = 0
    while (bytes.byteLength - at >= 2) {
      const opcode = (bytes[at] as number) & 0x0f
      let length = (bytes[at + 1] as number) & 0x7f
      let start = at + 2
      if (length >= LENGTH_OF_TWO_BYTES) {
        const size = length === LENGTH_OF_TWO_BYTES ? 2 : 8
        if (bytes.byteLength < start + size) break
        length = bytes.readUIntBE(start + (size === 8 ? 2 : 0), size === 8 ? 6 : 2)
        start += size
      }
      if (bytes.byteLength < start + length) break
      at = start + length
      if (opcode === TEXT) this.#options.onmessage(bytes.toString('utf8', start, at))
      else if (opcode === PING) this.#write(PONG, bytes.subarray(start, at))
      else if (opcode === CLOSE) this.#socket.destroy()
    }
    return at < bytes.byteLength ? bytes.subarray(at) : NONE
  }
}
