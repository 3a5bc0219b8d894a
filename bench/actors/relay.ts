import type { Socket } from 'node:net'

const TYPE_BYTES = 1
const HEAD_BYTES = TYPE_BYTES + 4 + 4

export const OPEN = 0
export const DATA = 1
export const END = 2

/**
 * Frames of many sockets on one TCP connection, with nothing that a tunnel needs beside that: no
 * encryption, no choice of an instance, no answer to an open, no flow control for each stream. What two
 * processes of Node cost that accept, connect and pass bytes on: nothing made of them is cheaper.
 */
export class Relay {
  readonly #line: Socket
  readonly #sockets = new Map<number, Socket>()
  #outgoing: Buffer[] = []
  #rest: Buffer | null = null

  constructor(line: Socket, onopen: (id: number) => void) {
    this.#line = line
    line.setNoDelay(true)
    line.on('data', (bytes: Buffer) => this.#read(bytes, onopen))
    line.on('drain', () => {
      for (const socket of this.#sockets.values()) socket.resume()
    })
  }

  open(id: number, socket: Socket) {
    this.send(OPEN, id)
    this.join(id, socket)
  }

  join(id: number, socket: Socket) {
    this.#sockets.set(id, socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(id))
    socket.on('data', (chunk: Buffer) => {
      this.send(DATA, id, chunk)
      if (this.#line.writableNeedDrain) socket.pause()
    })
    socket.on('end', () => this.send(END, id))
  }

  send(type: number, id: number, data?: Buffer) {
    const head = Buffer.allocUnsafe(HEAD_BYTES)
    head[0] = type
    head.writeUInt32LE(id, TYPE_BYTES)
    head.writeUInt32LE(data?.length ?? 0, TYPE_BYTES + 4)
    if (this.#outgoing.push(head) === 1) setImmediate(() => this.#flush())
    if (data) this.#outgoing.push(data)
  }

  #flush() {
    const frames = this.#outgoing
    this.#outgoing = []
    this.#line.write(Buffer.concat(frames))
  }

  #read(bytes: Buffer, onopen: (id: number) => void) {
    const all = this.#rest ? Buffer.concat([this.#rest, bytes]) : bytes
    let start = 0
    while (all.length - start >= HEAD_BYTES) {
      const end = start + HEAD_BYTES + all.readUInt32LE(start + TYPE_BYTES + 4)
      if (end > all.length) break
      const id = all.readUInt32LE(start + TYPE_BYTES)
      if (all[start] === OPEN) onopen(id)
      else if (all[start] === DATA) this.#write(id, all.subarray(start + HEAD_BYTES, end))
      else this.#sockets.get(id)?.end()
      start = end
    }
    this.#rest = start < all.length ? all.subarray(start) : null
  }

  #write(id: number, data: Buffer) {
    const socket = this.#sockets.get(id)
    if (!socket || socket.write(data)) return
    this.#line.pause()
    socket.once('drain', () => this.#line.resume())
    socket.once('close', () => this.#line.resume())
  }
}
