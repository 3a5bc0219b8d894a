import type { Writable } from 'node:stream'
import { SeaportError } from '../lib/identity.js'

/** What may wait for who reads our output, in bytes. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024
const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG']

/**
 * Prints lines for as long as somebody reads them. Node keeps what is not read in memory, without a bound, so beyond
 * one they are dropped, and counted.
 */
export class Output {
  readonly stats = { dropped: 0 }

  readonly #stream: Writable
  readonly #onresume: (dropped: number) => void
  /** Of the dropped ones, those that nobody was told of. */
  #untold = 0
  readonly #latest = new Map<string, string>()

  /** @param onresume told of how many were dropped, once lines are read again */
  constructor(stream: Writable, onresume: (dropped: number) => void) {
    this.#stream = stream
    this.#onresume = onresume
  }

  print(line: string) {
    if (this.#hasRoom) this.#stream.write(`${line}\n`)
    else this.#drop()
  }

  /**
   * Prints a line, or keeps it until lines are read again; of those with one key only the last is kept. So whoever reads
   * slowly ends with what is true, and what is kept is no more than there are keys.
   */
  printLatest(key: string, line: string) {
    if (this.#latest.size === 0 && this.#hasRoom) return this.print(line)
    if (this.#latest.size === 0) this.#stream.once('drain', () => this.#printKept())
    if (this.#latest.delete(key)) this.#drop()
    this.#latest.set(key, line)
  }

  /** Resolves when what was printed was read, or there is nobody to read it. */
  async allRead(): Promise<void> {
    if (this.#stream.writableLength === 0) return
    await new Promise<unknown>((resolve) => this.#stream.write('', resolve))
  }

  /** Prints what may be large, and resolves when more may be printed. */
  async printWhole(text: string | Uint8Array): Promise<void> {
    if (!this.#stream.write(text)) await this.allRead()
  }

  get #hasRoom(): boolean {
    return this.#stream.writableLength < MAX_WAITING_BYTES
  }

  #printKept() {
    for (const [key, line] of this.#latest) {
      if (!this.#hasRoom) return void this.#stream.once('drain', () => this.#printKept())
      this.#latest.delete(key)
      this.print(line)
    }
  }

  #drop() {
    this.stats.dropped++
    if (this.#untold++ === 0) this.#stream.once('drain', () => this.#tell())
  }

  #tell() {
    const dropped = this.#untold
    this.#untold = 0
    this.#onresume(dropped)
  }
}

const talk = new Output(process.stderr, (dropped) => printTalk(notReadInTime(dropped)))
const data = new Output(process.stdout, (dropped) => printTalk(notReadInTime(dropped)))

/** How many lines of data were dropped, as nobody read them. */
export const dataStats = data.stats

/** Prints a line of what was asked for. */
export function printData(line: string) {
  data.print(line)
}

/** Prints a line of what something is now, in place of an earlier one with the same key that nobody has read. */
export function printLatest(key: string, line: string) {
  data.printLatest(key, line)
}

/** Prints what may be large, and resolves when its reader takes more, or there is none any more. */
export function printWhole(text: string | Uint8Array): Promise<void> {
  return data.printWhole(text)
}

/** Resolves when all that was printed on stdout was read, or there is nobody to read it. */
export function allRead(): Promise<void> {
  return data.allRead()
}

/** Prints a line to the person at the terminal. */
export function printTalk(line: string) {
  talk.print(line)
}

function notReadInTime(dropped: number): string {
  return `${dropped} ${dropped === 1 ? 'line was' : 'lines were'} dropped, as nobody read them in time`
}

/** Whether output goes to a file, and that cannot grow now. */
export function isFull({ code = '' }: NodeJS.ErrnoException): boolean {
  return FULL.includes(code)
}

/** What runs is worth more than its log: who runs for long goes on, and prints again when there is room. */
export function notWritten(cause: Error): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `what is printed cannot be written (${cause.message}); make room on its disk`,
    cause
  )
}
