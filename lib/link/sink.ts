import type { SeaportError } from '../core/errors.js'

/** Who takes what a stream brings: one for each stream, from when it is attached. */
export interface Sink {
  /** It has copied what it keeps when `ondata` returns, so that what it is handed need not be a copy. */
  readonly isCopying?: boolean
  /** False holds back what follows, until `resume`. */
  ondata(bytes: Buffer): boolean
  /** The other side has ended; it may still read. */
  onend(): void
  /** After a `write` that was false: the next one is welcome. */
  ondrain(): void
  /** The last that is heard: what cut the stream, or null if both sides have ended. */
  onclose(reason: SeaportError | null): void
}

/** What the user of a stream does with it. `LinkStream` says what each call promises. */
export interface SinkSource {
  attach(sink: Sink): void
  write(chunk: Buffer): boolean
  end(onended?: () => void): void
  resume(): void
  destroy(error?: Error | null): void
}
