import type { Signal } from '../../core/abort.js'
import { toHex } from '../../core/keys.js'
import type { Dialer, Lendable } from '../../dialing/dialer.js'
import type { Load } from '../../dialing/load.js'
import { IdleStreams, type IdleStreamsOptions } from '../../http/idle-streams.js'
import type { OpenOptions } from '../../link/link.js'
import type { LinkPool } from '../../link/pool.js'
import type { Sink } from '../../link/sink.js'
import type { LinkStream } from '../../link/stream.js'
import type { FastAnswerHead } from './answer.js'

/** Receives the bytes and the end of a stream during one exchange. */
export type StreamSink = Pick<Sink, 'ondata' | 'onend' | 'onclose'>

/** A stream to an instance, for one exchange after the other. */
export class FastStream implements Sink, Lendable {
  /** The key of the instance, hex. */
  readonly key: string
  /** The beginning of the last answer: the next one's is often the same. */
  answered: FastAnswerHead | null = null
  readonly #stream: LinkStream
  readonly #onuseless: (stream: FastStream) => void
  #sink: StreamSink | null = null
  #load: Load | null = null
  #onunused: (() => void) | null = null
  #isOver = false

  /** @param onuseless called when something came that was not asked for, so that the stream cannot be used again */
  constructor(stream: LinkStream, key: string, onuseless: (stream: FastStream) => void) {
    this.key = key
    this.#stream = stream
    this.#onuseless = onuseless
    stream.attach(this)
    stream.resume()
  }

  /** Whether it may have another exchange. */
  get isUsable(): boolean {
    return !this.#isOver
  }

  /** Begins an exchange: from now on this sink gets what comes, and the exchange counts as load of the instance. */
  lend(sink: StreamSink, load: Load | null = null) {
    this.#sink = sink
    this.#load = load
    if (load) load.inFlight++
    if (this.#isOver) queueMicrotask(() => this.#sink?.onclose(null))
    // The exchange before may have paused the stream.
    else this.#stream.resume()
  }

  /** The exchange is over. */
  giveBack() {
    this.#sink = null
    if (this.#load) this.#load.inFlight--
    this.#load = null
    this.#onunused?.()
    this.#onunused = null
  }

  whenUnused(callback: () => void) {
    this.#onunused = callback
  }

  write(text: string) {
    this.#stream.write(Buffer.from(text, 'latin1'))
  }

  /** Ends it. What still comes is dropped. */
  end() {
    this.#isOver = true
    this.giveBack()
    this.#stream.end()
    this.#stream.resume()
  }

  /** Reads on after a pause. */
  resume() {
    this.#stream.resume()
  }

  destroy(error?: Error) {
    this.#isOver = true
    this.giveBack()
    this.#stream.destroy(error)
  }

  ondata(bytes: Buffer): boolean {
    if (this.#sink) return this.#sink.ondata(bytes)
    this.#spoil()
    return true
  }

  onend() {
    if (this.#sink) this.#sink.onend()
    else this.#spoil()
  }

  onclose() {
    this.#isOver = true
    const sink = this.#sink
    this.giveBack()
    if (sink) sink.onclose(null)
    else this.#onuseless(this)
  }

  ondrain() {}

  #spoil() {
    this.#isOver = true
    this.#onuseless(this)
  }
}

export interface FastStreamsOptions extends IdleStreamsOptions {
  pool: Pick<LinkPool, 'open'>
}

/** The streams of the fast path, kept between exchanges. */
export class FastStreams {
  readonly stats = {
    /** Exchanges that found a stream, and those that had to open one. */
    reused: 0,
    opened: 0
  }

  readonly #pool: FastStreamsOptions['pool']
  readonly #idle: IdleStreams<FastStream>

  constructor({ pool, ...options }: FastStreamsOptions) {
    this.#pool = pool
    this.#idle = new IdleStreams(options)
  }

  /** Streams kept now. */
  get idle(): number {
    return this.#idle.size
  }

  /** The function to call on each change of the directory. */
  get forget(): IdleStreams<FastStream>['forget'] {
    return this.#idle.forget
  }

  /** Lends a kept stream to the instance whose turn it is: null if there is none. */
  take(dialer: Dialer, sink: StreamSink): FastStream | null {
    const next = dialer.next()
    const stream = next && this.#idle.take(next.servicePublicKey)
    if (!next || !stream) return null
    this.stats.reused++
    stream.lend(sink, next.load)
    return stream
  }

  /**
   * Opens a stream, and lends it.
   *
   * @throws NO_INSTANCE, or the signal's reason
   */
  async dial(
    dialer: Dialer,
    sink: StreamSink,
    options: { signal: Signal; avoid: ReadonlySet<string> }
  ): Promise<FastStream> {
    const stream = await dialer.dial({ ...options, open: this.#open })
    this.stats.opened++
    stream.lend(sink)
    return stream
  }

  /** Keeps a stream for the next exchange. */
  keep(stream: FastStream) {
    stream.giveBack()
    if (stream.isUsable) this.#idle.put(stream.key, stream)
  }

  /** Gives up the streams that are not in use, and keeps none from now on. */
  close() {
    this.#idle.close()
  }

  readonly #open = async (key: Buffer, options: OpenOptions): Promise<FastStream> => {
    return new FastStream(await this.#pool.open(key, options), toHex(key), this.#onuseless)
  }

  readonly #onuseless = (stream: FastStream) => this.#idle.drop(stream.key, stream)
}
