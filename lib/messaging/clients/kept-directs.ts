import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { SeaportError } from '../../core/errors.js'
import { FORCED, type Rocks, type RocksChange, writeChanges } from '../../core/rocks.js'
import type { Body } from '../body.js'
import { openDatabase } from '../database.js'
import { LENGTH_BYTES } from '../frames.js'
import { decodeChannelFrame, encodeChannelFrame } from './channel-frames.js'

export interface KeptDirectsLimits {
  /** How many messages are kept for one client. Default: 100. */
  maxMessages?: number | undefined
  /** How many clients have some. Default: 10 000. */
  maxClients?: number | undefined
  /** How much is kept in all. Default: 64 MiB. */
  maxBytes?: number | undefined
}

/** A message that is kept until a page of its client has it. */
export interface KeptDirect {
  key: string
  type: string
  body: Body
}

export interface KeptDirectsParts extends KeptDirectsLimits {
  /** Sends a message to all sessions of a client that are here. */
  deliver: (id: string, message: KeptDirect) => void
  /** Whether a client has a session here. */
  isHere: (id: string) => boolean
  onnotice: (notice: SeaportError) => void
}

interface Entry {
  key: string
  bytes: number
  /** Ms since 1970. */
  expiresAt: number
  isWritten: boolean
  isSent: boolean
}

const MAX_MESSAGES = 100
const MAX_CLIENTS = 10_000
const MAX_BYTES = 64 * 1024 * 1024
const MAX_TTL_MS = 30 * 24 * 60 * 60_000
/** How much may be under way to one client. */
const MAX_UNDER_WAY_BYTES = 256 * 1024
/** What an entry takes beside its message, in memory and on disk. */
const ENTRY_BYTES = 256
const EXPIRES_BYTES = 8
const SUFFIX_BYTES = 4
const MIN_SWEEP_MS = 500
const MAX_SWEEP_MS = 60 * 60_000
const FIRST_KEY = Buffer.alloc(1)
const AFTER_LAST_KEY = Buffer.alloc(1, 0xff)

/**
 * Messages on disk for clients that are away. Each is kept until a page of its client has said that it has it, or until
 * it expires; whenever a page comes it is sent again. What was written survives the end of the process, however that
 * ends.
 */
export class KeptDirects {
  readonly stats = { kept: 0, keptBytes: 0, keptExpired: 0 }
  readonly #parts: KeptDirectsParts
  /** In the order in which they were written. */
  readonly #byId = new Map<string, Map<string, Entry>>()
  readonly #delivering = new Set<string>()
  readonly #writing = new Set<Promise<void>>()
  readonly #suffix = randomBytes(SUFFIX_BYTES)
  #folder = ''
  #opening: Promise<Rocks> | null = null
  #lastKey = 0
  #removedBytes = 0
  #sweeper: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(parts: KeptDirectsParts) {
    this.#parts = parts
  }

  /**
   * Reads what an earlier run of this instance has kept.
   *
   * @param folder '' if there is none
   * @throws STORAGE_FAILED
   */
  async open(folder: string) {
    this.#folder = folder
    if (existsSync(folder)) await this.#rocks()
  }

  async close() {
    this.#isClosed = true
    if (this.#sweeper) clearTimeout(this.#sweeper)
    await Promise.all([...this.#writing])
    const rocks = await this.#opening?.catch(() => null)
    await rocks?.close()
  }

  /**
   * Keeps a message, and sends it if its client is here. Resolves when it is on disk.
   *
   * @param ttl in ms
   * @throws USAGE, LIMIT_REACHED, STORAGE_FAILED, CLOSED
   */
  async add(id: string, type: string, body: Body, ttl: number): Promise<void> {
    // A text that looks like a number would be put behind a date.
    if (typeof ttl !== 'number' || !(ttl > 0 && ttl <= MAX_TTL_MS)) {
      throw SeaportError.USAGE(`a message is kept for up to 30 days, in ms, not for ${ttl}`)
    }
    if (this.#isClosed) throw SeaportError.CLOSED('the service is destroyed')
    const key = this.#nextKey()
    const expiresAt = Math.ceil(Date.now() + ttl)
    const value = encode({ id, type, body, expiresAt })
    const bytes = value.byteLength + ENTRY_BYTES
    if (this.#lackOf(id, bytes)) this.#sweep()
    const lack = this.#lackOf(id, bytes)
    if (lack) throw SeaportError.LIMIT_REACHED(`${lack} are kept already`)
    const entry = { key, bytes, expiresAt, isWritten: false, isSent: false }
    this.#insert(id, entry)
    try {
      await this.#write([{ key: Buffer.from(key, 'hex'), value }])
    } catch (error) {
      this.#delete(id, entry)
      throw error
    }
    entry.isWritten = true
    void this.#deliver(id)
  }

  /** A page of a client has come. It is sent all that is kept for it. */
  onarrival(id: string) {
    const entries = this.#byId.get(id)
    if (!entries) return
    for (const entry of entries.values()) entry.isSent = false
    void this.#deliver(id)
  }

  /** A page of a client has said that it has a message. */
  ongot(id: string, key: string) {
    const entry = this.#byId.get(id)?.get(key)
    if (!entry?.isWritten) return
    this.#drop([[id, entry]])
    void this.#deliver(id)
  }

  /** Sends what is kept for a client, as far as its pages say that they have it. Never rejects. */
  async #deliver(id: string) {
    if (this.#delivering.has(id)) return
    this.#delivering.add(id)
    try {
      for (let entry = this.#next(id); entry; entry = this.#next(id)) {
        const { key } = entry
        const value = await (await this.#rocks()).get(Buffer.from(key, 'hex'))
        // Meanwhile it may have expired, or its place in the order may be later, because another page has come.
        if (this.#next(id) !== entry) continue
        const message = value && decode(value)
        entry.isSent = true
        if (message) this.#parts.deliver(id, { key, type: message.type, body: message.body })
        else this.#drop([[id, entry]])
      }
    } catch (error) {
      if (!this.#isClosed) this.#parts.onnotice(asFailure(this.#folder, error))
    } finally {
      this.#delivering.delete(id)
    }
  }

  /** What is sent next to a client; null if there is nothing, or enough is under way. */
  #next(id: string): Entry | null {
    if (this.#isClosed || !this.#parts.isHere(id)) return null
    let underWay = 0
    for (const entry of this.#byId.get(id)?.values() ?? []) {
      if (underWay >= MAX_UNDER_WAY_BYTES || !entry.isWritten) return null
      if (!entry.isSent && entry.expiresAt > Date.now()) return entry
      underWay += entry.bytes
    }
    return null
  }

  /** What there is too much of to keep another message; null if there is room. */
  #lackOf(id: string, bytes: number): string | null {
    const {
      maxMessages = MAX_MESSAGES,
      maxClients = MAX_CLIENTS,
      maxBytes = MAX_BYTES
    } = this.#parts
    const count = this.#byId.get(id)?.size ?? 0
    const { keptBytes } = this.stats
    if (count >= maxMessages) return `${count} messages for this client`
    if (count === 0 && this.#byId.size >= maxClients) return `messages for ${maxClients} clients`
    return keptBytes + bytes > maxBytes ? `messages of ${keptBytes} bytes` : null
  }

  /** Later keys are greater, those of later runs too; no two runs or instances have the same. */
  #nextKey(): string {
    this.#lastKey = Math.max(this.#lastKey + 1, Date.now() * 1000)
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(this.#lastKey))
    return Buffer.concat([time, this.#suffix]).toString('hex')
  }

  #insert(id: string, entry: Entry) {
    const entries = this.#byId.get(id) ?? new Map<string, Entry>()
    this.#byId.set(id, entries.set(entry.key, entry))
    this.stats.kept++
    this.stats.keptBytes += entry.bytes
    this.#sweepLater(entry.expiresAt)
  }

  #delete(id: string, { key, bytes }: Entry): boolean {
    const entries = this.#byId.get(id)
    if (!entries?.delete(key)) return false
    if (entries.size === 0) this.#byId.delete(id)
    this.stats.kept--
    this.stats.keptBytes -= bytes
    return true
  }

  /** Removes messages from disk as well. Never rejects. */
  #drop(dropped: readonly [id: string, entry: Entry][]) {
    const gone = dropped.filter(([id, entry]) => this.#delete(id, entry))
    if (gone.length === 0) return
    for (const [, { bytes }] of gone) this.#removedBytes += bytes
    const removals = gone.map(([, { key }]) => ({ key: Buffer.from(key, 'hex'), value: null }))
    this.#write(removals).catch(this.#parts.onnotice)
    this.#compactIfDue()
  }

  /** Frees the disk space of what was removed. */
  #compactIfDue() {
    if (this.#removedBytes < (this.#parts.maxBytes ?? MAX_BYTES)) return
    this.#removedBytes = 0
    this.#track(async (rocks) => rocks.compactRange('\0', '\x7f', FORCED)).catch(
      this.#parts.onnotice
    )
  }

  #sweepLater(expiresAt: number) {
    if (this.#sweeper || this.#isClosed) return
    const wait = Math.min(Math.max(expiresAt - Date.now(), MIN_SWEEP_MS), MAX_SWEEP_MS)
    this.#sweeper = setTimeout(() => {
      this.#sweeper = null
      this.#sweep()
    }, wait)
    this.#sweeper.unref()
  }

  #sweep() {
    const now = Date.now()
    const expired: [string, Entry][] = []
    let next = Infinity
    for (const [id, entries] of this.#byId) {
      for (const entry of entries.values()) {
        if (!entry.isWritten) continue
        if (entry.expiresAt <= now) expired.push([id, entry])
        else next = Math.min(next, entry.expiresAt)
      }
    }
    this.stats.keptExpired += expired.length
    this.#drop(expired)
    if (next < Infinity) this.#sweepLater(next)
  }

  #write(changes: readonly RocksChange[]): Promise<void> {
    return this.#track((rocks) => writeChanges(rocks, changes))
  }

  /** Does something that `close` waits for. @throws STORAGE_FAILED */
  async #track(act: (rocks: Rocks) => Promise<void>): Promise<void> {
    const done = this.#rocks()
      .then(act)
      .catch((cause) => {
        throw asFailure(this.#folder, cause)
      })
    const settled = done.catch(() => {})
    this.#writing.add(settled)
    void settled.then(() => this.#writing.delete(settled))
    return done
  }

  #rocks(): Promise<Rocks> {
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  async #open(): Promise<Rocks> {
    if (this.#folder === '') {
      throw SeaportError.STORAGE_FAILED('there is no folder to keep messages in; name one with dir')
    }
    try {
      const rocks = await openDatabase(this.#folder, this.#parts.onnotice)
      for await (const { key, value } of rocks.iterator({ gte: FIRST_KEY, lt: AFTER_LAST_KEY })) {
        this.#read(key, value)
      }
      return rocks
    } catch (cause) {
      throw asFailure(this.#folder, cause)
    }
  }

  #read(key: Buffer, value: Buffer) {
    const message = decode(value)
    const bytes = value.byteLength + ENTRY_BYTES
    if (message) {
      const { id, expiresAt } = message
      const entry = { key: key.toString('hex'), bytes, expiresAt, isWritten: true, isSent: false }
      this.#insert(id, entry)
    }
    this.#lastKey = Math.max(this.#lastKey, Number(key.readBigUInt64BE(0)))
  }
}

interface Stored {
  id: string
  type: string
  body: Body
  expiresAt: number
}

/** The time when it expires, and the message as a frame. @throws TOO_LARGE */
function encode({ id, type, body, expiresAt }: Stored): Buffer {
  const expires = Buffer.alloc(EXPIRES_BYTES)
  expires.writeDoubleBE(expiresAt)
  const frame = encodeChannelFrame({ t: 'event', kind: 'direct', type, id, seq: 0 }, body)
  return Buffer.concat([expires, frame])
}

/** Null if it cannot be read. */
function decode(value: Buffer): Stored | null {
  try {
    const frame = decodeChannelFrame(value.subarray(EXPIRES_BYTES + LENGTH_BYTES))
    if (frame?.head.t !== 'event' || frame.head.id === undefined) return null
    const { id, type } = frame.head
    return { id, type, body: frame.body, expiresAt: value.readDoubleBE(0) }
  } catch {
    return null
  }
}

function asFailure(folder: string, cause: unknown): SeaportError {
  if (cause instanceof SeaportError) return cause
  const { message } = cause as Error
  return SeaportError.STORAGE_FAILED(`no message can be kept in ${folder} (${message})`, cause)
}
