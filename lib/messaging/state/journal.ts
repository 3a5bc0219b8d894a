import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

/** A file that is locked for this process. */
export interface JournalFile {
  path: string
  /** Unlocks the file. */
  release(): void
}

const NEWLINE = 0x0a
/** Each line begins with the CRC of the rest, in hex, and a space. */
const CHECK_LENGTH = 9
const ONLY_FOR_US = 0o600
/** It is far above the size that a compacted journal reaches. A larger file is not one of ours. */
const MAX_FILE_BYTES = 256 * 1024 * 1024

/**
 * Lines of JSON in a file, each with a checksum. When `append` resolves, its lines are on the disk. A line that was
 * being written when the machine or the process stopped is dropped, and so is everything from a damaged one on.
 */
export class Journal {
  readonly #file: JournalFile
  #handle: FileHandle | null = null
  #size = 0
  /** Whether the last write failed and left something that could not be removed. */
  #isTorn = false

  private constructor(file: JournalFile) {
    this.#file = file
  }

  /**
   * @returns the journal, the values of its lines, and whether one of them is damaged, and not only torn
   * @throws an error of the file system
   */
  static async open(
    file: JournalFile
  ): Promise<{ journal: Journal; lines: unknown[]; isDamaged: boolean }> {
    const journal = new Journal(file)
    // This is left of a compaction that was not finished.
    await rm(draftOf(file), { force: true })
    const handle = await open(file.path, 'a+', ONLY_FOR_US)
    await handle.close()
    journal.#handle = await open(file.path, 'r+')
    const { bytes, lines, end, isDamaged } = await readLines(journal.#handle)
    journal.#size = end
    if (isDamaged) await journal.#keepAside(bytes)
    if (end < bytes.byteLength) await journal.#handle.truncate(end)
    return { journal, lines, isDamaged }
  }

  /**
   * Reads a journal that is not ours to write.
   *
   * @throws an error of the file system
   */
  static async read(path: string): Promise<Pick<Read, 'lines' | 'isDamaged'>> {
    const handle = await open(path, 'r')
    try {
      return await readLines(handle)
    } finally {
      await handle.close()
    }
  }

  /** In bytes. */
  get size(): number {
    return this.#size
  }

  /** Whether it has to be rewritten before it takes anything. */
  get isTorn(): boolean {
    return this.#isTorn
  }

  /**
   * Appends lines, and resolves when they are on the disk. If it fails, none of them was written.
   *
   * @throws an error of the file system
   */
  async append(lines: readonly string[]) {
    if (!this.#handle) throw new Error('it is closed')
    if (this.#isTorn) throw new Error('its last write failed')
    const bytes = encode(lines)
    try {
      await write(this.#handle, bytes, this.#size)
      await this.#handle.datasync()
      this.#size += bytes.byteLength
    } catch (error) {
      this.#isTorn = true
      await this.#handle.truncate(this.#size).then(
        () => {
          this.#isTorn = false
        },
        () => {}
      )
      throw error
    }
  }

  /**
   * Replaces all lines. A crash leaves either the old ones or the new ones.
   *
   * @throws an error of the file system
   */
  async rewrite(lines: readonly string[]) {
    if (!this.#handle) throw new Error('it is closed')
    const bytes = encode(lines)
    const draft = draftOf(this.#file)
    const handle = await open(draft, 'w+', ONLY_FOR_US)
    try {
      await write(handle, bytes, 0)
      await handle.datasync()
      await rename(draft, this.#file.path)
    } catch (error) {
      await handle.close()
      await rm(draft, { force: true }).catch(() => {})
      throw error
    }
    const before = this.#handle
    this.#handle = handle
    this.#size = bytes.byteLength
    this.#isTorn = false
    await before.close()
    await syncFolder(dirname(this.#file.path))
  }

  /**
   * Begins an empty journal, and keeps the present one in a file beside it.
   *
   * @throws an error of the file system
   */
  async setAside() {
    if (this.#handle) await this.#keepAside((await readLines(this.#handle)).bytes)
    await this.rewrite([])
  }

  async #keepAside(bytes: Buffer) {
    await writeFile(`${this.#file.path}.damaged`, bytes, { mode: ONLY_FOR_US })
  }

  async close() {
    const handle = this.#handle
    this.#handle = null
    await handle?.close()
    this.#file.release()
  }
}

function draftOf({ path }: JournalFile): string {
  return `${path}.new`
}

function encode(lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${checkOf(Buffer.from(line))} ${line}\n`).join(''))
}

function checkOf(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, '0')
}

async function write(handle: FileHandle, bytes: Buffer, from: number) {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, from + done)
    done += bytesWritten
  }
}

interface Read {
  bytes: Buffer
  lines: unknown[]
  /** The end of the last intact line. */
  end: number
  isDamaged: boolean
}

/**
 * Reads lines up to the first damaged one. The last one is torn, and not damaged, if it does not end with a newline.
 *
 * @throws an error of the file system
 */
async function readLines(handle: FileHandle): Promise<Read> {
  const { size } = await handle.stat()
  if (size > MAX_FILE_BYTES) throw new Error(`a journal of ${size} bytes is none of ours`)
  const bytes = Buffer.alloc(size)
  for (let done = 0; done < size; ) {
    const { bytesRead } = await handle.read(bytes, done, size - done, done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  const lines: unknown[] = []
  let end = 0
  for (let at = 0; ; ) {
    const newline = bytes.indexOf(NEWLINE, at)
    if (newline < 0) return { bytes, lines, end, isDamaged: false }
    const line = readLine(bytes.subarray(at, newline))
    if (line === undefined) return { bytes, lines, end, isDamaged: true }
    at = newline + 1
    lines.push(line)
    end = at
  }
}

/** @returns undefined if the line is damaged */
function readLine(bytes: Buffer): unknown {
  const body = bytes.subarray(CHECK_LENGTH)
  if (bytes.subarray(0, CHECK_LENGTH).toString() !== `${checkOf(body)} `) return undefined
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/**
 * Syncs the folder of a file, so that a rename outlives a power cut. Not every file system can do that, so errors are
 * ignored.
 */
async function syncFolder(path: string) {
  try {
    const handle = await open(path, 'r')
    await handle.sync().finally(() => handle.close())
  } catch {}
}
