import { Duplex, type Transform } from 'node:stream'
import { createInflate, createInflateRaw, type ZlibOptions } from 'node:zlib'

/** The method in the first byte of the zlib format (RFC 1950, section 2.2). */
const DEFLATE = 8

/**
 * Decodes the content coding `deflate`. It is the zlib format by right (RFC 9110, section 8.4.1.2), and the bare data
 * from some servers; the first byte tells which.
 */
export class Inflate extends Duplex {
  readonly #options: ZlibOptions
  #decoder: Transform | null = null

  constructor(options: ZlibOptions) {
    super()
    this.#options = options
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void) {
    const [first] = chunk
    if (first === undefined) return done()
    this.#decoder ??= this.#decoderFor(first)
    this.#decoder.write(chunk, done)
  }

  override _final(done: () => void) {
    if (this.#decoder) this.#decoder.end()
    else this.push(null)
    done()
  }

  override _read() {
    this.#decoder?.resume()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void) {
    this.#decoder?.destroy()
    done(error)
  }

  #decoderFor(first: number): Transform {
    const create = (first & 0x0f) === DEFLATE ? createInflate : createInflateRaw
    const decoder = create(this.#options)
    decoder.on('data', (bytes) => this.push(bytes) || decoder.pause())
    decoder.on('end', () => this.push(null))
    decoder.on('error', (error) => this.destroy(error))
    return decoder
  }
}
