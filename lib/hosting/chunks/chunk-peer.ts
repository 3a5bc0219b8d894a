import { EventEmitter } from 'node:events'
import type { Signal } from '../../core/abort.js'
import { SeaportError } from '../../core/errors.js'
import type { Sink } from '../../link/sink.js'
import type { LinkStream } from '../../link/stream.js'
import { FrameReader, reasonOf } from '../../messaging/frame-reader.js'
import {
  CANCEL,
  CHUNK,
  type ChunkFrame,
  decodeChunkFrame,
  encodeChunkFrame,
  MAX_FRAME_BYTES,
  NO,
  PROGRESS,
  WANT
} from './chunk-frames.js'

/** A question of the other side for a chunk. It is answered once. */
export interface Want {
  list: string
  hash: string
  /** Sends the chunk when its turn comes and the other side takes more. */
  give(read: () => Promise<Buffer | null>): void
  refuse(error: SeaportError): void
  /** Whether it was answered, or is not wanted any more. */
  readonly isOver: boolean
}

export interface ChunkPeerOptions {
  stream: LinkStream
  /** The key of the other side, hex. */
  key: string
  /** How long the other side may send nothing while it was asked for something, in ms. */
  stallTimeout?: number | undefined
}

interface ChunkPeerEvents {
  want: [want: Want]
  /** Bytes came. */
  heard: []
  close: [reason: SeaportError]
}

interface Asked {
  resolve: (chunk: Buffer) => void
  reject: (error: SeaportError) => void
}

const STALL_TIMEOUT_MS = 10_000
/** How many chunks one side may ask for at a time. */
const MAX_WANTS = 64

/** One stream of chunks, and the peer at its other end. */
export class ChunkPeer extends EventEmitter<ChunkPeerEvents> implements Sink {
  readonly key: string
  readonly stats = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 }

  /** When bytes came last, or it was made, by a monotonic clock in ms. */
  heardAt = performance.now()

  readonly #stream: LinkStream
  readonly #stallTimeout: number
  readonly #reader: FrameReader<ChunkFrame>
  readonly #asked = new Map<number, Asked>()
  readonly #wants = new Map<number, { isOver: boolean }>()
  /** The chain of chunks that are being sent. They are read from the disk one by one, as the other side takes them. */
  #giving: Promise<void> = Promise.resolve()
  #lastId = 0
  #stall: NodeJS.Timeout | null = null
  #ondrained: (() => void) | null = null
  #closed: SeaportError | null = null

  constructor({ stream, key, stallTimeout = STALL_TIMEOUT_MS }: ChunkPeerOptions) {
    super()
    this.key = key
    this.#stream = stream
    this.#stallTimeout = stallTimeout
    this.#reader = new FrameReader({
      maxBytes: MAX_FRAME_BYTES,
      decode: (bytes, start, end) => decodeChunkFrame(bytes.subarray(start, end)),
      onframe: (frame) => this.#onframe(frame)
    })
  }

  get isClosed(): boolean {
    return this.#closed !== null
  }

  /** Whether nothing is asked for, either way. */
  get isIdle(): boolean {
    return this.#asked.size + this.#wants.size === 0
  }

  /** Begins to read. Listeners to `want` have to be there before. */
  open() {
    this.#stream.attach(this)
    this.#stream.resume()
  }

  /**
   * Asks for a chunk. The bytes that come are not compared with the hash here.
   *
   * @throws the other side's refusal, OPEN_TIMEOUT if it sends nothing for too long, LINK_LOST, or the signal's reason
   */
  ask(list: string, hash: string, signal: Signal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      if (signal.aborted) return reject(signal.reason)
      const id = ++this.#lastId
      const settle = () => {
        this.#asked.delete(id)
        signal.removeEventListener('abort', onabort)
        if (this.#asked.size === 0) this.#restart(null)
      }
      const onabort = () => {
        settle()
        this.#send({ type: CANCEL, id })
        reject(signal.reason)
      }
      signal.addEventListener('abort', onabort, { once: true })
      this.#asked.set(id, {
        resolve: (chunk) => {
          settle()
          resolve(chunk)
        },
        reject: (error) => {
          settle()
          reject(error)
        }
      })
      this.#send({ type: WANT, id, list, hash })
      if (this.#asked.size === 1) this.#restart(this.#stallTimeout)
    })
  }

  /** Tells the other side that what it waits for is on its way to us. */
  progress() {
    this.#send({ type: PROGRESS })
  }

  /** Ends the stream in order. Open questions are not answered. */
  end() {
    if (this.#closed) return
    this.#stream.end()
    this.#onover(SeaportError.CLOSED('the stream of chunks was ended'))
  }

  destroy(error: SeaportError) {
    this.#stream.destroy(error)
    this.#onover(error)
  }

  // The following methods take what the stream brings.

  ondata(bytes: Buffer): boolean {
    if (this.#closed) return true
    if (this.#stall) this.#restart(this.#stallTimeout)
    this.heardAt = performance.now()
    this.stats.receivedBytes += bytes.byteLength
    this.emit('heard')
    try {
      this.#reader.push(bytes)
    } catch (error) {
      this.destroy(reasonOf(error))
    }
    return true
  }

  onend() {
    this.#stream.end()
    this.#onover(SeaportError.LINK_LOST('the other side ended the stream of chunks'))
  }

  ondrain() {
    this.#ondrained?.()
  }

  onclose(reason: SeaportError | null) {
    this.#onover(reason ?? SeaportError.LINK_LOST('the stream of chunks is over'))
  }

  #onframe(frame: ChunkFrame) {
    switch (frame.type) {
      case WANT:
        return this.#onwant(frame.id, frame.list, frame.hash)
      case CHUNK:
        this.stats.received++
        // A chunk for a question that was cancelled was already under way, and is ignored.
        return this.#asked.get(frame.id)?.resolve(Buffer.from(frame.bytes))
      case NO:
        return this.#asked.get(frame.id)?.reject(SeaportError.remote(frame.code, frame.text))
      case CANCEL:
        return this.#settle(frame.id)
      case PROGRESS:
    }
  }

  #onwant(id: number, list: string, hash: string) {
    if (this.#wants.has(id) || this.#wants.size >= MAX_WANTS) {
      throw SeaportError.BAD_MESSAGE(`more than ${MAX_WANTS} chunks are asked for at a time`)
    }
    const state = { isOver: false }
    this.#wants.set(id, state)
    this.emit('want', {
      list,
      hash,
      give: (read) => {
        this.#giving = this.#giving.then(() => this.#give(id, state, read)).catch(() => {})
      },
      refuse: ({ code, text }) => {
        if (!state.isOver) this.#send({ type: NO, id, code, text })
        this.#settle(id)
      },
      get isOver() {
        return state.isOver
      }
    })
  }

  async #give(id: number, state: { isOver: boolean }, read: () => Promise<Buffer | null>) {
    if (state.isOver) return
    const bytes = await read().catch(() => null)
    if (state.isOver) return
    this.#settle(id)
    if (bytes === null) {
      return void this.#send({ type: NO, id, code: 'NOT_FOUND', text: 'the chunk is not here' })
    }
    this.stats.sent++
    this.stats.sentBytes += bytes.byteLength
    if (this.#send({ type: CHUNK, id, bytes })) return
    await new Promise<void>((resolve) => {
      if (this.#closed) return resolve()
      this.#ondrained = resolve
    })
  }

  #settle(id: number) {
    const state = this.#wants.get(id)
    if (state) state.isOver = true
    this.#wants.delete(id)
  }

  /** @returns whether more may follow at once */
  #send(frame: ChunkFrame): boolean {
    let isTaken = true
    if (!this.#closed)
      for (const piece of encodeChunkFrame(frame)) isTaken = this.#stream.write(piece)
    return isTaken
  }

  #restart(timeout: number | null) {
    if (this.#stall) clearTimeout(this.#stall)
    this.#stall = timeout === null ? null : setTimeout(() => this.#onstall(), timeout)
  }

  #onstall() {
    const error = SeaportError.OPEN_TIMEOUT(
      `${this.key.slice(0, 8)}… sent nothing of a bundle for ${this.#stallTimeout} ms`
    )
    for (const [id, asked] of [...this.#asked]) {
      this.#send({ type: CANCEL, id })
      asked.reject(error)
    }
  }

  #onover(reason: SeaportError) {
    if (this.#closed) return
    this.#closed = reason
    this.#restart(null)
    this.#reader.stop()
    for (const id of [...this.#wants.keys()]) this.#settle(id)
    for (const asked of [...this.#asked.values()]) asked.reject(reason)
    this.#ondrained?.()
    this.emit('close', reason)
  }
}
