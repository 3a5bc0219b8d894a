import type { SeaportError } from '../core/errors.js'
import type { Sink, SinkSource } from './sink.js'
import { SocketDuplex } from './socket-duplex.js'

/** What Node buffers on top of what the stream does, each way. */
const BUFFER_BYTES = 16 * 1024

/** A stream of a link as Node's modules take it. */
export class LinkDuplex extends SocketDuplex implements Sink {
  readonly #stream: SinkSource
  #ondrain: (() => void) | null = null

  constructor(stream: SinkSource) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: BUFFER_BYTES,
      writableHighWaterMark: BUFFER_BYTES
    })
    this.#stream = stream
    // A stream may be cut before its owner has it in hand, and that must not end the process. Whoever
    // listens hears it all the same; whoever does not sees `close`.
    this.on('error', () => {})
    stream.attach(this)
  }

  ondata(bytes: Buffer): boolean {
    this.onreceived(bytes.byteLength)
    return this.push(bytes)
  }

  onend() {
    this.push(null)
  }

  ondrain() {
    const done = this.#ondrain
    this.#ondrain = null
    done?.()
  }

  onclose(reason: SeaportError | null) {
    if (reason) this.destroy(reason)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    this.onsent(chunk.byteLength)
    if (this.#stream.write(chunk)) done()
    else this.#ondrain = done
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void) {
    let isWelcome = true
    for (const { chunk } of chunks) {
      this.onsent(chunk.byteLength)
      isWelcome = this.#stream.write(chunk)
    }
    if (isWelcome) done()
    else this.#ondrain = done
  }

  override _final(done: () => void) {
    this.#stream.end(done)
  }

  override _read() {
    this.#stream.resume()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void) {
    this.#ondrain = null
    this.#stream.destroy(error)
    super._destroy(error, done)
  }
}
