import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { SerialQueue } from '../../core/serial-queue.js'
import { checkDepth, encodeBody, JsonText } from '../body.js'
import type { CallContext } from '../call-context.js'
import { checkOwnName } from '../names.js'
import { Passed } from '../run.js'
import type { JournalFile } from './journal.js'
import { Ledger } from './ledger.js'
import {
  compareHeads,
  entryToJson,
  type Head,
  MAX_VALUE_BYTES,
  parseHead,
  type Scope,
  type SignedEntry,
  snapshotToJson,
  verifyHead
} from './statements.js'

/** An entry of a service's state. */
export interface StateEntry {
  /** The service key of the instance whose it is, in hex. */
  owner: string
  name: string
  /** Greater by one with each owner that took the state over from another. */
  term: number
  /** Greater in every later change of the owner's. */
  rev: number
  // biome-ignore lint/suspicious/noExplicitAny: who reads it knows what is written
  value: any
}

export interface WriteOptions {
  /** Only if the entry has this revision; 0 if there is to be none. Else CONFLICT. */
  if?: number | undefined
}

export interface StateOptions {
  scope: Scope
  /** Keys that may take over: see `Head`. */
  successors: readonly string[]
  /** Process keys, in hex, that may write beside the owner. */
  writers: readonly string[]
  /** Tells those who watch: JSON. */
  onchange: (change: JsonText) => void
  onnotice: (notice: SeaportError) => void
}

/** Where an owner's journal is. */
export interface StateFiles {
  /** Whether there is one. */
  exists(): boolean
  /** @throws STORAGE_FAILED, STORAGE_LOCKED */
  take(): Promise<JournalFile>
}

const MAX_WAITING = 10_000
const MAX_WAITING_BYTES = 16 * 1024 * 1024
const MAX_BATCH = 256
/** Wrapped in its entry and its change, it is no deeper than any body may be. */
const MAX_DEPTH = 240

interface Write {
  name: string
  /** null deletes. */
  json: string | null
  if: number | undefined
  resolve: (rev: number) => void
  reject: (error: SeaportError) => void
}

/**
 * A small map that a service shares: it signs each entry, and the map as a whole, and keeps it in its folder. Those who
 * watch have copies of it.
 */
export class State {
  readonly stats = { written: 0, failed: 0 }
  readonly #options: StateOptions
  readonly #turns = new SerialQueue()
  #waiting: Write[] = []
  #waitingBytes = 0
  #isScheduled = false
  #isPaused = false
  #files: StateFiles | null = null
  #keyPair: KeyPair | null = null
  #processKey: Buffer | null = null
  #ledger: Ledger | null = null
  /** Why nothing is written any more. */
  #over: SeaportError | null = null

  /** @internal */
  constructor(options: StateOptions) {
    this.#options = options
  }

  /** How many entries there are. */
  get size(): number {
    return this.#ledger?.size ?? 0
  }

  /** The value of a name; undefined if there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: who reads it knows what is written
  get(name: string): any {
    const json = this.#ledger?.get(name)?.json
    return typeof json === 'string' ? JSON.parse(json) : undefined
  }

  /** All entries. */
  entries(): StateEntry[] {
    const { head } = this.#ledger ?? {}
    if (!this.#ledger || !head) return []
    const { owner, term } = head
    return [...this.#ledger.entries()].map(({ name, rev, json }) => ({
      owner,
      name,
      term,
      rev,
      value: JSON.parse(json as string)
    }))
  }

  /**
   * Writes a value: JSON of at most 60 KiB. Resolves with its revision when it is on the disk; those who watch hear of
   * it then.
   *
   * @throws USAGE for a name that cannot be one, BAD_INPUT, TOO_LARGE, LIMIT_REACHED beyond 4 096 names or 1 MiB,
   * CONFLICT if `if` does not hold, STORAGE_FAILED, STORAGE_LOCKED, REFUSED, CLOSED. Nothing was written then.
   */
  async set(name: string, value: unknown, options: WriteOptions = {}): Promise<number> {
    return this.#write(checkOwnName(name, 'an entry'), jsonOf(name, value), options)
  }

  /**
   * Takes a name out. Resolves with the revision of that.
   *
   * @throws as `set` does
   */
  async delete(name: string, options: WriteOptions = {}): Promise<number> {
    return this.#write(checkOwnName(name, 'an entry'), null, options)
  }

  /** @internal The head of what is on the disk. */
  get head(): Head | null {
    return this.#ledger?.head ?? null
  }

  /**
   * Reads what is in the service's folder.
   *
   * @param processKey all whose services may take over
   * @internal
   * @throws STORAGE_FAILED, STORAGE_LOCKED
   */
  async open(keyPair: KeyPair, processKey: Buffer, files: StateFiles) {
    this.#keyPair = keyPair
    this.#processKey = processKey
    this.#files = files
    if (files.exists()) await this.#turns.run(() => this.#open())
  }

  /** @internal */
  async close() {
    this.#end(SeaportError.CLOSED('the service was destroyed'))
    await this.#turns.idle()
    await this.#ledger?.close()
  }

  /**
   * The command with which others read it: all, unless they have it.
   *
   * @internal
   */
  async read(data: unknown): Promise<unknown> {
    const { have } = (data ?? {}) as { have?: unknown }
    if (have !== undefined && have !== null) await this.#hear(parseHead(have))
    const ledger = this.#ledger
    if (!ledger?.head) return { head: null }
    const { head, succession } = ledger
    const known = have as Head | undefined
    const isSame =
      known?.owner === head.owner && known.term === head.term && known.hash === head.hash
    if (isSame && known.rev === head.rev) return { head, same: true }
    return new JsonText(snapshotToJson({ head, succession, entries: [...ledger.entries()] }))
  }

  /**
   * The command with which writers write it.
   *
   * @internal
   */
  async takeWrite(data: unknown, { peer }: Pick<CallContext, 'peer'>): Promise<{ rev: number }> {
    try {
      if (!this.#options.writers.includes(peer)) {
        throw SeaportError.NOT_ALLOWED(
          `${peer} is no writer of this state: its owner names those (writers)`
        )
      }
      const { name, value, deleted, if: rev } = (data ?? {}) as { [field: string]: unknown }
      const options = { if: rev as number | undefined }
      const written =
        deleted === true
          ? await this.delete(name as string, options)
          : await this.set(name as string, value, options)
      return { rev: written }
    } catch (error) {
      if (!(error instanceof SeaportError)) throw error
      const refusal = error.code === 'USAGE' ? SeaportError.BAD_INPUT(error.text) : error
      throw new Passed(refusal.of(error.executed ?? 'no'))
    }
  }

  #write(name: string, json: string | null, { if: rev }: WriteOptions): Promise<number> {
    if (rev !== undefined && !(Number.isSafeInteger(rev) && rev >= 0)) {
      throw SeaportError.USAGE(`if is a revision, or 0 for none, not ${rev}`).of('no')
    }
    const denial = this.#denial()
    if (denial) return Promise.reject(denial.of('no'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, json, if: rev, resolve, reject })
      this.#waitingBytes += json?.length ?? 0
      this.#schedule()
    })
  }

  #denial(): SeaportError | null {
    if (this.#over) return this.#over
    if (!this.#files) return SeaportError.CLOSED('the service has no key yet: set it up first')
    const hasRoom = this.#waiting.length < MAX_WAITING && this.#waitingBytes < MAX_WAITING_BYTES
    if (hasRoom) return null
    return SeaportError.BUSY(`${this.#waiting.length} changes of the state wait already`)
  }

  #schedule() {
    if (this.#isScheduled || this.#isPaused || this.#waiting.length === 0) return
    this.#isScheduled = true
    void this.#turns.run(async () => {
      this.#isScheduled = false
      if (this.#isPaused) return
      const batch = this.#waiting.splice(0, MAX_BATCH)
      for (const { json } of batch) this.#waitingBytes -= json?.length ?? 0
      await this.#writeBatch(batch)
      this.#schedule()
    })
  }

  /** Never rejects. */
  async #writeBatch(writes: readonly Write[]) {
    const done: { write: Write; entry: SignedEntry; head: Head }[] = []
    try {
      const ledger = await this.#open()
      for (const write of writes) {
        try {
          done.push({ write, ...ledger.prepare(write) })
        } catch (error) {
          this.stats.failed++
          write.reject((error as SeaportError).of('no'))
        }
      }
      await ledger.commit()
    } catch (error) {
      const reason = (error as SeaportError).of('no')
      for (const { reject } of done.length > 0 ? done.map(({ write }) => write) : writes) {
        this.stats.failed++
        reject(reason)
      }
      return
    }
    for (const { write, entry, head } of done) {
      this.stats.written++
      write.resolve(entry.rev)
      this.#options.onchange(
        new JsonText(`{"entry":${entryToJson(entry)},"head":${JSON.stringify(head)}}`)
      )
    }
  }

  /** @throws STORAGE_FAILED, STORAGE_LOCKED */
  async #open(): Promise<Ledger> {
    if (this.#ledger) return this.#ledger
    const { scope, successors: named, onnotice } = this.#options
    const successors = [...named, toHex(this.#processKey as Buffer)]
    const keyPair = this.#keyPair as KeyPair
    const file = await (this.#files as StateFiles).take()
    this.#ledger = await Ledger.open(file, { scope, successors, keyPair, onnotice })
    return this.#ledger
  }

  /**
   * Somebody shows a head that we signed and do not remember: our disk was lost, or put back to an earlier day. We go on
   * in a later term then, so that what we write now counts everywhere.
   */
  async #hear(theirs: Head) {
    const keyPair = this.#keyPair
    if (!keyPair || theirs.owner !== toHex(keyPair.publicKey) || !this.#files) return
    const ours = this.head
    if (ours && compareHeads(theirs, ours) <= 0) return
    try {
      verifyHead(this.#options.scope, theirs)
    } catch {
      return
    }
    await this.#turns.run(async () => {
      const ledger = await this.#open()
      if (ledger.head && compareHeads(theirs, ledger.head) <= 0) return
      const lost = theirs.rev - (ledger.head?.rev ?? 0)
      await ledger.renew({ term: theirs.term + 1, rev: Math.max(theirs.rev, ledger.rev) })
      this.#options.onnotice(
        SeaportError.STORAGE_FAILED(
          `a watcher has a later state than this folder (by ${lost} changes), which was lost here; to have it back, take it over (takeOver)`
        )
      )
    })
  }

  /** Nothing is written from now on. */
  #end(reason: SeaportError) {
    this.#over = reason
    for (const { reject } of this.#waiting.splice(0)) reject(reason.of('no'))
  }
}

/** @throws BAD_INPUT, TOO_LARGE */
function jsonOf(name: string, value: unknown): string {
  let json: string
  try {
    const { kind, bytes } = encodeBody(value)
    if (kind !== 'json') throw new TypeError(kind === 'none' ? 'nothing' : 'bytes')
    checkDepth(bytes, MAX_DEPTH)
    json = bytes.toString()
  } catch (error) {
    const { message } = error as Error
    throw SeaportError.BAD_INPUT(`the value of ${name} is no JSON: ${message}`, error).of('no')
  }
  const size = Buffer.byteLength(json)
  if (size <= MAX_VALUE_BYTES) return json
  throw SeaportError.TOO_LARGE(
    `the value of ${name} has ${size} bytes, ${MAX_VALUE_BYTES} may be`
  ).of('no')
}
