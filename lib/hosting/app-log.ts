import { EventEmitter } from 'node:events'
import {
  appendFile,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile
} from 'node:fs/promises'
import { join } from 'node:path'
import { SerialQueue } from '../core/serial-queue.js'

/** A line of an instance's output. It has to be made printable before it is shown. */
export interface LogLine {
  /** When it was read, in ms since 1970. */
  at: number
  text: string
}

export interface AppLogOptions {
  /** The file that the program writes to directly, so that it can go on while the host is not there. */
  raw: string
  /** The folder in which lines are kept with their times. It has to exist. */
  folder: string
  /** Bytes of one file of lines, and how many files there are. */
  size: number
  files: number
  /** How often the raw output is looked at, in ms. */
  interval?: number | undefined
  now?: (() => number) | undefined
}

interface AppLogEvents {
  line: [line: LogLine]
}

export interface LinesOptions {
  /** Ms since 1970. */
  since?: number
  /** How many lines at most; the last ones. */
  count?: number
}

const INTERVAL_MS = 200
const READ_BYTES = 64 * 1024
/** A line that is longer is cut. */
const MAX_LINE_BYTES = 16 * 1024
/** The raw output is emptied once this much of it was read. */
const RAW_BYTES = 2 ** 20
const MAX_COUNT = 10_000
const NEWLINE = 10
const LINES_FILE = 'lines'
/** The latest that a Date has. */
const MAX_TIME_MS = 8.64e15

/**
 * Reads what an instance writes, gives each line its time, and keeps lines in files that are rotated at line ends. The
 * raw file is emptied from time to time. What is written between the last read and that is lost.
 */
export class AppLog extends EventEmitter<AppLogEvents> {
  readonly stats = { lines: 0, rotations: 0 }

  readonly #options: AppLogOptions
  readonly #path: string
  readonly #queue = new SerialQueue()
  readonly #now: () => number
  /** How much of the raw output was read, and the beginning of a line that is not complete yet. */
  #offset = 0
  #rest = Buffer.alloc(0)
  #size = 0
  #timer: NodeJS.Timeout | null = null

  constructor(options: AppLogOptions) {
    super()
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#path = join(options.folder, LINES_FILE)
  }

  /** Goes on where an earlier process has left off, and reads from then on. */
  async open() {
    this.#offset = Number(await readFile(this.#offsetFile, 'utf8').catch(() => 0)) || 0
    this.#size = (await stat(this.#path).catch(() => null))?.size ?? 0
    const { interval = INTERVAL_MS } = this.#options
    this.#timer = setInterval(() => void this.flush(), interval)
    this.#timer.unref()
  }

  /** Reads what there is now. Never rejects: a disk that is full loses lines, and nothing else. */
  flush(): Promise<void> {
    return this.#queue.run(() => this.#read().catch(() => {}))
  }

  /**
   * The lines that are kept, and each one that comes after them until it is stopped.
   *
   * @param online is called with each new line
   */
  follow(
    options: LinesOptions,
    online: (line: LogLine) => void
  ): Promise<{ lines: LogLine[]; stop: () => void }> {
    // In the queue no line can come between the two.
    return this.#queue.run(async () => {
      await this.#read().catch(() => {})
      const lines = await this.lines(options)
      this.on('line', online)
      return { lines, stop: () => this.off('line', online) }
    })
  }

  /** Reads no more. A last line without an end is kept, too. */
  async close() {
    if (this.#timer) clearInterval(this.#timer)
    await this.flush()
    if (this.#rest.byteLength > 0) await this.#keep([this.#rest]).catch(() => {})
    this.#rest = Buffer.alloc(0)
  }

  /** Lines that are kept, the oldest first. */
  async lines({ since = 0, count = MAX_COUNT }: LinesOptions = {}): Promise<LogLine[]> {
    const most = Math.min(count, MAX_COUNT)
    const found: LogLine[] = []
    for (let i = 0; i < this.#options.files && found.length < most; i++) {
      const text = await readFile(this.#nameOf(i), 'utf8').catch(() => '')
      const lines = text.split('\n').flatMap((line) => readLine(line) ?? [])
      found.unshift(...lines.filter(({ at }) => at >= since))
    }
    return most === 0 ? [] : found.slice(-most)
  }

  async #read() {
    const file = await open(this.#options.raw).catch(() => null)
    if (!file) return
    const before = this.#offset
    try {
      // The file has become shorter, so somebody has emptied it.
      if ((await file.stat()).size < this.#offset) this.#offset = 0
      const buffer = Buffer.alloc(READ_BYTES)
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, this.#offset)
        if (bytesRead === 0) break
        this.#offset += bytesRead
        await this.#take(buffer.subarray(0, bytesRead))
      }
    } finally {
      await file.close()
    }
    if (this.#offset >= RAW_BYTES) {
      await truncate(this.#options.raw)
      this.#offset = 0
    }
    // An incomplete line is not counted as read, so that the next process reads it again.
    const read = Math.max(0, this.#offset - this.#rest.byteLength)
    if (this.#offset !== before) await writeFile(this.#offsetFile, String(read), { mode: 0o600 })
  }

  async #take(bytes: Buffer) {
    const all = Buffer.concat([this.#rest, bytes])
    const lines: Buffer[] = []
    let at = 0
    for (;;) {
      const end = all.indexOf(NEWLINE, at)
      if (end < 0 && all.byteLength - at < MAX_LINE_BYTES) break
      const cut = Math.min(end < 0 ? all.byteLength : end, at + MAX_LINE_BYTES)
      lines.push(all.subarray(at, cut))
      at = cut === end ? end + 1 : cut
    }
    this.#rest = Buffer.from(all.subarray(at))
    await this.#keep(lines)
  }

  async #keep(lines: Buffer[]) {
    const at = this.#now()
    const { size } = this.#options
    let text = ''
    for (const bytes of lines) {
      const line = { at, text: bytes.toString('utf8').replace(/\r$/, '') }
      const written = `${new Date(at).toISOString()} ${line.text}\n`
      if (this.#size > 0 && this.#size + Buffer.byteLength(written) > size) {
        await this.#append(text)
        text = ''
        await this.#rotate()
      }
      text += written
      this.#size += Buffer.byteLength(written)
      this.stats.lines++
      this.emit('line', line)
    }
    await this.#append(text)
  }

  async #append(text: string) {
    if (text !== '') await appendFile(this.#path, text, { mode: 0o600 })
  }

  async #rotate() {
    const { files } = this.#options
    await rm(this.#nameOf(files - 1), { force: true })
    for (let i = files - 2; i >= 0; i--) {
      await rename(this.#nameOf(i), this.#nameOf(i + 1)).catch(() => {})
    }
    this.#size = 0
    this.stats.rotations++
  }

  #nameOf(i: number): string {
    return i === 0 ? this.#path : `${this.#path}.${i}`
  }

  get #offsetFile(): string {
    return `${this.#path}.offset`
  }
}

/** Deletes what is kept of an instance's output. */
export async function removeLog(raw: string, folder: string) {
  const names = await readdir(folder).catch(() => [])
  const isLines = (name: string) => name === LINES_FILE || name.startsWith(`${LINES_FILE}.`)
  const paths = names.filter(isLines).map((name) => join(folder, name))
  for (const path of [raw, ...paths]) await rm(path, { force: true })
}

/** Whether what another host sent is a line. */
export function isLogLine(value: unknown): value is LogLine {
  const { at, text } = Object(value)
  return typeof text === 'string' && isTime(at)
}

/** Whether what another host sent is a time, in ms since 1970, that can be shown. */
export function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Math.abs(value as number) <= MAX_TIME_MS
}

/** Merges the lines of several instances by their times. Those of one instance stay in their order. */
export function mergeLines<T extends LogLine>(lists: readonly (readonly T[])[]): T[] {
  return lists.flat().sort((a, b) => a.at - b.at)
}

function readLine(line: string): LogLine | null {
  const space = line.indexOf(' ')
  const at = Date.parse(line.slice(0, space))
  return space < 0 || Number.isNaN(at) ? null : { at, text: line.slice(space + 1) }
}
