import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { SeaportError } from '../../core/errors.js'
import { SerialQueue } from '../../core/serial-queue.js'
import { makeFolder } from '../../registry/log/storage.js'

/** Where a letter is on disk. It changes when the letter is moved. */
export interface Place {
  segment: number
  offset: number
  /** The size of the letter. */
  bytes: number
}

export interface SegmentsOptions {
  /** The largest size of all files together, in bytes. It may be exceeded by two segments at most. */
  maxBytes: number
  /** The size of a file, in bytes. */
  segmentBytes?: number
  /** Begins all checksums. Who does not know it cannot write a letter that looks like several in a damaged file. */
  salt?: number
}

/** A file that letters are appended to. */
interface Segment {
  bytes: number
  /** The letters in it that were not removed. */
  places: Set<Place>
  /** Bytes of those that were, and are still in the file. */
  removed: number
}

interface Waiting {
  letter: Buffer
  resolve: (place: Place) => void
  reject: (error: SeaportError) => void
}

const MIN_SEGMENT_BYTES = 1024 * 1024
const MAX_SEGMENTS = 256
/**
 * Each letter comes after a byte that says whether it is there, its length, its checksum, and the checksum of these two
 * (4 bytes each, little-endian). A letter that is damaged is passed over: if its head is whole the next letter follows it,
 * else the next whole head is looked for.
 */
const HEAD_BYTES = 13
const LENGTH_AT = 1
const CHECKSUM_AT = 5
const HEAD_CHECKSUM_AT = 9
const THERE = 1
const REMOVED = 0
const OWNER_ONLY = 0o600
/** Files are rewritten once removed letters are more than this part of all bytes. */
const REMOVED_PART = 0.1

/**
 * Letters in a few files (segments), each of which is appended to until it is full. A letter is removed by one byte; the
 * file that has most of these is made anew, one at a time, when the disk space is needed. So the size on disk is
 * bounded at all times, where a database needs as much again while it rewrites its files.
 */
export class Segments {
  readonly #folder: string
  readonly #maxBytes: number
  readonly #segmentBytes: number
  readonly #salt: number
  readonly #segments = new Map<number, Segment>()
  readonly #waiting: Waiting[] = []
  /** Files change one after the other. */
  readonly #queue = new SerialQueue()
  #bytes = 0
  /** The file that is appended to. */
  #current: { number: number; file: FileHandle } | null = null

  constructor(folder: string, { maxBytes, segmentBytes, salt = 0 }: SegmentsOptions) {
    this.#folder = folder
    this.#salt = salt
    this.#maxBytes = maxBytes
    this.#segmentBytes = segmentBytes ?? Math.max(MIN_SEGMENT_BYTES, maxBytes / MAX_SEGMENTS)
  }

  /** The size of all files, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Reads what is there. An end that was not written completely is cut off, and what is damaged is passed over.
   *
   * @param onletter called with each letter; false if it cannot be read, and is to be removed
   * @returns how many bytes are damaged
   * @throws STORAGE_FAILED
   */
  load(onletter: (letter: Buffer, place: Place) => boolean): Promise<number> {
    return this.#try(async () => {
      await makeFolder(this.#folder)
      const names = await readdir(this.#folder)
      const numbers = names.filter((name) => /^\d+$/.test(name)).map(Number)
      let damaged = 0
      for (const number of numbers.sort((a, b) => a - b)) {
        damaged += await this.#load(number, onletter)
      }
      return damaged
    })
  }

  /**
   * Writes a letter. Those that come meanwhile are written together.
   *
   * @throws STORAGE_FAILED
   */
  append(letter: Buffer): Promise<Place> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ letter, resolve, reject })
      if (this.#waiting.length === 1) void this.#queue.run(() => this.#flush())
    })
  }

  /** @throws STORAGE_FAILED */
  read(place: Place): Promise<Buffer> {
    return this.#inTurn(async () => {
      const file = await open(this.#path(place.segment), 'r')
      try {
        const letter = Buffer.alloc(place.bytes)
        await file.read(letter, 0, place.bytes, place.offset + HEAD_BYTES)
        return letter
      } finally {
        await file.close()
      }
    })
  }

  /** @throws STORAGE_FAILED */
  remove(places: readonly Place[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const number of new Set(places.map(({ segment }) => segment))) {
        const removed = places.filter(({ segment }) => segment === number)
        await this.#remove(number, removed)
      }
    })
  }

  /** Gives back disk space if much of it has letters that were removed. */
  tidy(): Promise<void> {
    return this.#inTurn(async () => {
      const isDue = () => {
        const removed = [...this.#segments.values()].reduce((sum, one) => sum + one.removed, 0)
        return removed > this.#bytes * REMOVED_PART
      }
      while (isDue() && (await this.#renewOne())) {}
    })
  }

  async close() {
    await this.#queue.run(() => this.#leave())
  }

  /** @returns how many bytes are damaged */
  async #load(number: number, onletter: (letter: Buffer, place: Place) => boolean) {
    const file = await open(this.#path(number), 'r')
    const all = await file.readFile().finally(() => file.close())
    const segment: Segment = { bytes: 0, places: new Set(), removed: 0 }
    this.#segments.set(number, segment)
    const unread: Place[] = []
    let damaged = 0
    let gaps = 0
    for (let at = this.#next(all, 0); at < all.byteLength; at = this.#next(all, segment.bytes)) {
      gaps += at - segment.bytes
      const start = at + HEAD_BYTES
      const place = { segment: number, offset: at, bytes: all.readUInt32LE(at + LENGTH_AT) }
      segment.bytes = start + place.bytes
      segment.places.add(place)
      const letter = all.subarray(start, segment.bytes)
      const isWhole = crc32(letter, this.#salt) === all.readUInt32LE(at + CHECKSUM_AT)
      const isThere = all[at] !== REMOVED
      if (isThere && !isWhole) damaged += HEAD_BYTES + place.bytes
      if (!isThere || !isWhole || !onletter(letter, place)) unread.push(place)
    }
    this.#bytes += segment.bytes
    segment.removed = gaps
    if (segment.bytes < all.byteLength) await truncate(this.#path(number), segment.bytes)
    await this.#remove(number, unread)
    return gaps + damaged
  }

  /** Where the next letter begins, from a place on; the end if none does. */
  #next(all: Buffer, from: number): number {
    for (let at = from; at + HEAD_BYTES <= all.byteLength; at++) {
      const length = all.readUInt32LE(at + LENGTH_AT)
      if (length === 0 || at + HEAD_BYTES + length > all.byteLength) continue
      const fields = all.subarray(at + LENGTH_AT, at + HEAD_CHECKSUM_AT)
      if (crc32(fields, this.#salt) === all.readUInt32LE(at + HEAD_CHECKSUM_AT)) return at
    }
    return all.byteLength
  }

  /** What comes before a letter on disk. */
  #head(letter: Buffer): Buffer {
    const head = Buffer.alloc(HEAD_BYTES)
    head[0] = THERE
    head.writeUInt32LE(letter.byteLength, LENGTH_AT)
    head.writeUInt32LE(crc32(letter, this.#salt), CHECKSUM_AT)
    const fields = head.subarray(LENGTH_AT, HEAD_CHECKSUM_AT)
    head.writeUInt32LE(crc32(fields, this.#salt), HEAD_CHECKSUM_AT)
    return head
  }

  /** Writes what waits. Never rejects: who waits is told. */
  async #flush() {
    const batch = this.#waiting.splice(0)
    try {
      const sum = batch.reduce((sum, { letter }) => sum + letter.byteLength + HEAD_BYTES, 0)
      while (this.#bytes + sum > this.#maxBytes && (await this.#renewOne())) {}
      const places = await this.#write(batch.map(({ letter }) => letter))
      for (const [i, { resolve }] of batch.entries()) resolve(places[i] as Place)
    } catch (error) {
      for (const { reject } of batch) reject(this.#failed(error))
    }
  }

  /** Appends letters to the current file, and to new ones once it is full. */
  async #write(letters: readonly Buffer[]): Promise<Place[]> {
    const places: Place[] = []
    let rest = letters
    while (rest.length > 0) {
      const { number, file } = await this.#room()
      const segment = this.#segments.get(number) as Segment
      let end = segment.bytes
      const parts: Buffer[] = []
      for (const letter of rest) {
        if (parts.length > 0 && end + letter.byteLength > this.#segmentBytes) break
        parts.push(this.#head(letter), letter)
        places.push({ segment: number, offset: end, bytes: letter.byteLength })
        end += HEAD_BYTES + letter.byteLength
      }
      const written = Buffer.concat(parts)
      await file.writev([written], segment.bytes).then(({ bytesWritten }) => {
        if (bytesWritten < written.byteLength) throw new Error('ENOSPC: it was not written whole')
      })
      this.#bytes += end - segment.bytes
      segment.bytes = end
      rest = rest.slice(parts.length / 2)
    }
    for (const place of places) this.#segments.get(place.segment)?.places.add(place)
    return places
  }

  /** The file that has room, or a new one. */
  async #room(): Promise<{ number: number; file: FileHandle }> {
    const current = this.#current
    const segment = current && this.#segments.get(current.number)
    if (current && segment && segment.bytes < this.#segmentBytes) return current
    await this.#leave()
    const number = Math.max(0, ...this.#segments.keys()) + 1
    const { O_RDWR, O_CREAT, O_TRUNC } = constants
    const file = await open(this.#path(number), O_RDWR | O_CREAT | O_TRUNC, OWNER_ONLY)
    this.#segments.set(number, { bytes: 0, places: new Set(), removed: 0 })
    this.#current = { number, file }
    return this.#current
  }

  /** Closes the current file. */
  async #leave() {
    const current = this.#current
    this.#current = null
    await current?.file.close()
  }

  async #remove(number: number, places: readonly Place[]) {
    const segment = this.#segments.get(number)
    if (!segment) return
    const gone = places.filter((place) => segment.places.delete(place))
    for (const { bytes } of gone) segment.removed += bytes + HEAD_BYTES
    if (segment.places.size === 0) return this.#drop(number)
    if (gone.length === 0) return
    const file = await open(this.#path(number), 'r+')
    try {
      for (const { offset } of gone) await file.write(Buffer.from([REMOVED]), 0, 1, offset)
    } finally {
      await file.close()
    }
  }

  async #drop(number: number) {
    if (this.#current?.number === number) await this.#leave()
    await rm(this.#path(number), { force: true })
    this.#bytes -= this.#segments.get(number)?.bytes ?? 0
    this.#segments.delete(number)
  }

  /** Moves what is left in the file that has most removed letters, and deletes it. Returns false if none has any. */
  async #renewOne(): Promise<boolean> {
    const [worst] = [...this.#segments].sort(([, a], [, b]) => b.removed - a.removed)
    if (!worst || worst[1].removed === 0) return false
    const [number, { places }] = worst
    if (this.#current?.number === number) await this.#leave()
    const file = await open(this.#path(number), 'r')
    const all = await file.readFile().finally(() => file.close())
    const moved = [...places]
    const letters = moved.map(({ offset, bytes }) =>
      all.subarray(offset + HEAD_BYTES, offset + HEAD_BYTES + bytes)
    )
    const copies = await this.#write(letters)
    for (const [i, place] of moved.entries()) {
      const copy = copies[i] as Place
      const { places } = this.#segments.get(copy.segment) as Segment
      places.delete(copy)
      places.add(Object.assign(place, copy))
    }
    await this.#drop(number)
    return true
  }

  #path(number: number): string {
    return join(this.#folder, String(number))
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    return this.#queue.run(() => this.#try(act))
  }

  async #try<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #failed(cause: unknown): SeaportError {
    const { message } = cause as Error
    return SeaportError.STORAGE_FAILED(
      `letters cannot be kept in ${this.#folder} (${message})`,
      cause
    )
  }
}
