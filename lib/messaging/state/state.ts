import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { SerialQueue } from '../../core/serial-queue.js'
import { JsonText } from '../body.js'
import type { CallContext } from '../call-context.js'
import { checkOwnName } from '../names.js'
import { Passed } from '../run.js'
import type { JournalFile } from './journal.js'
import { Ledger } from './ledger.js'
import {
  type Claim,
  compareHeads,
  entryToJson,
  type Head,
  parseHead,
  type Scope,
  type SignedEntry,
  type Succession,
  snapshotToJson,
  verifyHead
} from './statements.js'
import { jsonOf, type WriteOptions, WriteQueue } from './write-queue.js'

export type { WriteOptions } from './write-queue.js'

/** An entry of a service's state. */
export interface StateEntry {
  /** The service key of the instance that owns it, in hex. */
  owner: string
  name: string
  /** The term: greater by one with each owner that has taken the state over from another. */
  term: number
  /** The revision: greater in each later change by the owner. */
  rev: number
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  value: any
}

export interface StateOptions {
  scope: Scope
  /** Keys that may take over: see `Head`. */
  successors: readonly string[]
  /** Process keys, in hex, that may write beside the owner. */
  writers: readonly string[]
  /** Sends a change, as JSON, to those who watch. */
  onchange: (change: JsonText) => void
  onnotice: (notice: SeaportError) => void
}

/** The file of an owner's journal. */
export interface StateFiles {
  /** Whether there is one. */
  exists(): boolean
  /** @throws STORAGE_FAILED, STORAGE_LOCKED */
  take(): Promise<JournalFile>
}

/** A state that a newcomer goes on with. */
export interface Heritage {
  head: Head
  entries: readonly SignedEntry[]
  claim: Claim | null
}

/** Takes offers of states that watchers have. */
export interface Offers {
  isWanted(head: Head): boolean
  /** Takes a snapshot. */
  take(snapshot: unknown): Promise<boolean>
}

/**
 * A small map that a service shares. The service signs each entry and the map as a whole, and keeps it in its folder.
 * Watchers have copies of it.
 */
export class State {
  readonly #options: StateOptions
  readonly #turns = new SerialQueue()
  readonly #writes: WriteQueue
  #files: StateFiles | null = null
  #keyPair: KeyPair | null = null
  #processKey: Buffer | null = null
  #ledger: Ledger | null = null
  /** Names that were deleted since a newcomer began to take over; null while none does. */
  #removed: Set<string> | null = null
  #offers: Offers | null = null

  /** @internal */
  constructor(options: StateOptions) {
    this.#options = options
    this.#writes = new WriteQueue({
      turns: this.#turns,
      open: () => this.#open(),
      onwritten: (entry, head) => {
        if (entry.json === null) this.#removed?.add(entry.name)
        options.onchange(
          new JsonText(`{"entry":${entryToJson(entry)},"head":${JSON.stringify(head)}}`)
        )
      }
    })
  }

  get stats() {
    return this.#writes.stats
  }

  /** How many entries there are. */
  get size(): number {
    return this.#ledger?.size ?? 0
  }

  /** The value of a name; undefined if there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
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
   * Writes a value: JSON of at most 60 KiB. Resolves with its revision when it is on the disk. Watchers are told then.
   *
   * @throws USAGE for a name that cannot be one, BAD_INPUT, TOO_LARGE, LIMIT_REACHED beyond 4 096 names or 1 MiB,
   * CONFLICT if `if` does not hold, STORAGE_FAILED, STORAGE_LOCKED, REFUSED, CLOSED. Nothing was written then.
   */
  async set(name: string, value: unknown, options: WriteOptions = {}): Promise<number> {
    return this.#writes.add(checkOwnName(name, 'an entry'), jsonOf(name, value), options)
  }

  /**
   * Deletes a name. Resolves with the revision of the deletion.
   *
   * @throws as `set` does
   */
  async delete(name: string, options: WriteOptions = {}): Promise<number> {
    return this.#writes.add(checkOwnName(name, 'an entry'), null, options)
  }

  /** @internal The head of what is on the disk. */
  get head(): Head | null {
    return this.#ledger?.head ?? null
  }

  /**
   * Opens the journal in the service's folder.
   *
   * @param processKey a key whose services may all take over
   * @internal
   * @throws STORAGE_FAILED, STORAGE_LOCKED
   */
  async open(keyPair: KeyPair, processKey: Buffer, files: StateFiles) {
    this.#keyPair = keyPair
    this.#processKey = processKey
    this.#files = files
    this.#writes.begin()
    if (files.exists()) await this.#turns.run(() => this.#open())
  }

  /** @internal Writes wait until `release`, so that the state that this one takes over does not replace them. */
  hold() {
    this.#writes.hold()
  }

  /** @internal */
  release() {
    this.#writes.release()
  }

  /** @internal */
  async close() {
    this.#writes.end(SeaportError.CLOSED('the service was destroyed'))
    await this.#turns.idle()
    await this.#ledger?.close()
  }

  /**
   * Executes the command that reads the state. It answers with all of it, unless the caller has it already.
   *
   * @internal
   */
  async read(data: unknown): Promise<unknown> {
    const { have, offer, restore } = (data ?? {}) as { [field: string]: unknown }
    if (offer !== undefined) return { want: this.#offers?.isWanted(parseHead(offer)) ?? false }
    if (restore !== undefined) return { taken: (await this.#offers?.take(restore)) ?? false }
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
   * Executes the command by which writers write the state.
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
      throw new Passed(refusal.withExecuted(error.executed ?? 'no'))
    }
  }

  /** @internal How the state came to this owner, if another one had it before. */
  get succession(): Succession | null {
    return this.#ledger?.succession ?? null
  }

  /** @internal Names that were written after a revision. */
  changedSince(rev: number): string[] {
    return this.#view()
      .entries.filter((entry) => entry.rev > rev)
      .map(({ name }) => name)
  }

  /** @internal Keys that may take over: see `Head`. */
  get successors(): string[] {
    const own = this.#processKey
    return own ? [...this.#options.successors, toHex(own)] : [...this.#options.successors]
  }

  /** @internal Remembers which names are deleted, until `untrack`. */
  track() {
    this.#removed = new Set()
  }

  /** @internal */
  untrack() {
    this.#removed = null
  }

  /** @internal The whole map, as JSON. */
  async snapshot(): Promise<unknown> {
    return this.#turns.run(async () => {
      const { head, succession, entries } = this.#view()
      return head ? new JsonText(snapshotToJson({ head, succession, entries })) : { head: null }
    })
  }

  /** @internal Writes wait from now on. Resolves when none is under way. */
  async pause() {
    this.#writes.pause()
    await this.#turns.idle()
  }

  /** @internal Refuses the writes that wait and all later ones. */
  refuse(reason: SeaportError) {
    this.#writes.end(reason)
  }

  /**
   * @internal The changes after a revision, for the newcomer that it is handed over to. Call it while writes are
   *   paused.
   */
  changesSince(rev: number, over: Claim): JsonText {
    const { head, entries } = this.#view()
    const changed = entries.filter((entry) => entry.rev > rev).map(entryToJson)
    const removed = [...(this.#removed ?? [])].filter((name) => !this.#ledger?.get(name))
    const rest = JSON.stringify({ over, head, removed }).slice(0, -1)
    return new JsonText(`${rest},"entries":[${changed.join(',')}]}`)
  }

  /**
   * Notes that another instance goes on with the state.
   *
   * @internal
   * @throws STORAGE_FAILED
   */
  async handedOver(owner: string) {
    this.#writes.end(SeaportError.REFUSED(`the state was handed over to ${owner}`))
    await this.#turns.run(async () => this.#ledger?.noteOver(owner))
  }

  /**
   * Goes on after a hand-over that was not completed, in a term above the newcomer's.
   *
   * @internal
   * @throws STORAGE_FAILED
   */
  async takeBack() {
    this.#writes.end(SeaportError.REFUSED('the hand-over of the state was not completed'))
    await this.#turns.run(async () => {
      const ledger = this.#ledger
      if (!ledger?.head) return
      await ledger.renew({ term: ledger.head.term + 2, rev: ledger.head.rev })
      this.#tellAll(ledger)
    })
    this.#removed = null
    this.#writes.begin()
  }

  /**
   * Goes on with the state of another owner, or with an earlier one of ours.
   *
   * @internal
   * @throws STORAGE_FAILED, STORAGE_LOCKED
   */
  async adopt({ head, entries, claim }: Heritage) {
    await this.#turns.run(async () => {
      const ledger = await this.#open()
      const isOurs = head.owner === toHex((this.#keyPair as KeyPair).publicKey)
      await ledger.renew({
        term: Math.max(head.term, ledger.head?.term ?? 0) + 1,
        rev: Math.max(head.rev, ledger.rev),
        entries,
        succession: isOurs ? null : { former: head, claim }
      })
      this.#tellAll(ledger)
    })
  }

  /** @internal Sets who takes offers of watchers; null for nobody. */
  heedOffers(offers: Offers | null) {
    this.#offers = offers
  }

  #view() {
    const { head = null, succession = null } = this.#ledger ?? {}
    return { head, succession, entries: [...(this.#ledger?.entries() ?? [])] }
  }

  /** Tells watchers to read the whole map again. */
  #tellAll({ head }: Ledger) {
    this.#options.onchange(new JsonText(JSON.stringify({ head })))
  }

  /** @throws STORAGE_FAILED, STORAGE_LOCKED */
  async #open(): Promise<Ledger> {
    if (this.#ledger) return this.#ledger
    const { scope, onnotice } = this.#options
    const { successors } = this
    const keyPair = this.#keyPair as KeyPair
    const file = await (this.#files as StateFiles).take()
    this.#ledger = await Ledger.open(file, { scope, successors, keyPair, onnotice })
    return this.#ledger
  }

  /**
   * Takes a head of ours that a watcher shows. If we do not remember it, our disk was lost or put back to an earlier
   * day. Then we go on in a later term, so that what we write from now on counts everywhere.
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
      this.#tellAll(ledger)
      this.#options.onnotice(
        SeaportError.STORAGE_FAILED(
          `a watcher has a later state than this folder (by ${lost} changes), which was lost here; to have it back, take it over (takeOver)`
        )
      )
    })
  }
}
