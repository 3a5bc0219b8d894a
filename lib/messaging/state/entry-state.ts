import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { messageOf } from '../../core/thrown.js'
import { CONVERSATION } from '../conversation.js'
import type { EntryEvents, EventOrigin } from '../entry-events.js'
import { checkOwnName, SET_STATE, STATE } from '../names.js'
import type { Sender, SendOptions } from '../sender.js'
import { type CopyChange, StateCopy } from './copy.js'
import { Follower, type FollowerOptions } from './follower.js'
import { Offering } from './offering.js'
import type { StateEntry, WriteOptions } from './state.js'
import { compareHeads, type Scope, type SignedEntry } from './statements.js'
import { jsonOf } from './write-queue.js'

/** An entry of a copy. */
export interface CopiedEntry extends StateEntry {
  /** Whether its owner is gone, so that this is its last known value. */
  stale: boolean
}

/** An entry that has changed. */
export interface StateChange extends CopiedEntry {
  /** Whether the name was deleted. The value is undefined then. */
  deleted: boolean
}

export type StateChangeListener = (change: StateChange) => void

export interface ReadOptions {
  /** The key of the only instance whose state is read. Default: all instances, of which the latest entry counts. */
  instance?: string | undefined
}

export interface SetOptions extends WriteOptions, ReadOptions {
  /** How long to wait, in ms. Default: 10 s. */
  timeout?: number | undefined
  signal?: AbortSignal | undefined
}

/** An instance whose state may be watched. */
export interface Watched {
  servicePublicKey: string
  speaks?: readonly string[]
  /** Whether the instance still looks for the state of an earlier one. */
  joining?: boolean
}

export interface EntryStateOptions {
  scope: Scope
  events: EntryEvents
  sender: Pick<Sender, 'send'>
  instances: () => readonly Watched[]
  retry?: FollowerOptions['retry']
  onnotice: (notice: SeaportError) => void
}

/** How many owners are followed at a time, and of how many that are gone the last state is kept. */
const MAX_FOLLOWED = 1024
const MAX_STALE = 64
/** How long a write waits for copies, to find out which instance has its name, in ms. */
const OTHERS_WAIT_MS = 1000
/** The largest size of all copies together. */
const MAX_BYTES = 64 * 1024 * 1024

interface Owner {
  copy: StateCopy
  follower: Follower
  isStale: boolean
}

/** Verified copies of the states of all instances of a role. The last state of an instance that is gone is kept. */
export class EntryState {
  readonly #options: EntryStateOptions
  readonly #owners = new Map<string, Owner>()
  readonly #listeners = new Set<StateChangeListener>()
  readonly #waiting = new Set<() => void>()
  readonly #offering: Offering
  #isWatching = false
  #isClosed = false

  /** @internal */
  constructor(options: EntryStateOptions) {
    this.#options = options
    this.#offering = new Offering(options.sender)
  }

  /**
   * The value of a name; undefined if there is none. The first call fetches all states; later ones are answered from
   * the copies.
   *
   * @throws NOT_GRANTED if no instance lets us read its state, CLOSED
   */
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  async get(name: string, options: ReadOptions = {}): Promise<any> {
    return (await this.entry(name, options))?.value
  }

  /**
   * The entry of a name, with its owner, its revision, and whether it is stale.
   *
   * @throws as `get` does
   */
  async entry(name: string, options: ReadOptions = {}): Promise<CopiedEntry | undefined> {
    checkOwnName(name, 'an entry')
    await this.#ready(options)
    const found = this.#newest(name, options)
    return found && view(found.owner, found.entry)
  }

  /**
   * All entries. If several instances have a name, the latest one.
   *
   * @throws as `get` does
   */
  async entries(options: ReadOptions = {}): Promise<CopiedEntry[]> {
    await this.#ready(options)
    const newest = new Map<string, { owner: Owner; entry: SignedEntry }>()
    for (const owner of this.#ownersOf(options)) {
      for (const entry of owner.copy.entries()) {
        const known = newest.get(entry.name)
        if (!known || isLater({ owner, entry }, known)) newest.set(entry.name, { owner, entry })
      }
    }
    return [...newest.keys()].sort().map((name) => {
      const { owner, entry } = newest.get(name) as { owner: Owner; entry: SignedEntry }
      return view(owner, entry)
    })
  }

  /**
   * Listens to changes at all instances. It is first called for the entries that there are already.
   *
   * @throws CLOSED
   */
  on(_event: 'change', listener: StateChangeListener): this {
    this.#watch()
    for (const owner of this.#owners.values()) {
      for (const entry of owner.copy.entries()) this.#hand(listener, owner, entry.name, entry)
    }
    this.#listeners.add(listener)
    return this
  }

  off(_event: 'change', listener: StateChangeListener): this {
    this.#listeners.delete(listener)
    return this
  }

  /**
   * Resolves once there is a copy of the state of each instance that is known now.
   *
   * @throws CLOSED
   */
  async ready(): Promise<void> {
    this.#watch()
    await this.#options.events.ready()
    await this.#settled()
  }

  /**
   * Writes a value at the instance that has the latest entry of the name, or else at any. That instance has to name our
   * process key as a writer. Resolves with the revision when the value is on its disk.
   *
   * @throws NOT_ALLOWED, NOT_GRANTED, CONFLICT if `if` does not hold, and the errors of `send`, with `executed`
   */
  async set(name: string, value: unknown, options: SetOptions = {}): Promise<number> {
    return this.#write({ name, value: JSON.parse(jsonOf(name, value)) }, options)
  }

  /**
   * Deletes a name at the instance that has the latest entry of it.
   *
   * @throws as `set` does
   */
  async delete(name: string, options: SetOptions = {}): Promise<number> {
    return this.#write({ name, deleted: true }, options)
  }

  /** @internal */
  close() {
    this.#isClosed = true
    for (const { follower } of this.#owners.values()) follower.close()
    this.#tell()
  }

  async #write(
    change: { name: string; value?: unknown; deleted?: true },
    { if: rev, instance, timeout, signal }: SetOptions
  ): Promise<number> {
    const { sender } = this.#options
    checkOwnName(change.name, 'an entry')
    const target = instance ?? (await this.#instanceFor(change.name))
    const options: SendOptions = { timeout, signal, instance: target }
    const data = { ...change, ...(rev !== undefined && { if: rev }) }
    const { rev: written } = (await sender.send(SET_STATE, data, options)) as { rev: number }
    return written
  }

  /** The instance to write a name at: the one that has it, or else any that was not succeeded by another one. */
  async #instanceFor(name: string): Promise<string | undefined> {
    const speaking = this.#speaking()
    if (speaking.length < 2) return speaking[0]
    // A dead instance may still be listed. Then the copies of the others have to do.
    await Promise.race([this.ready(), sleep(OTHERS_WAIT_MS, undefined, { ref: false })])
    const found = this.#newest(name, {}, ({ isStale }) => !isStale)
    const [first] = found ? [found.owner.copy.head?.owner] : this.#ownersThere(speaking)
    return first ?? speaking[0]
  }

  /** The owners that are there, without those that were succeeded by another one. */
  #ownersThere(speaking: readonly string[]): string[] {
    const owners = new Set<Owner>(this.#ownersOf({}))
    return speaking.filter((key) => {
      const owner = this.#owners.get(key)
      return owner !== undefined && owners.has(owner)
    })
  }

  /** Resolves once there is a copy of the state of one instance, or of each. */
  async #settled(instance?: string) {
    const isPending = () =>
      this.#pending().some((key) => instance === undefined || key === instance)
    while (!this.#isClosed && isPending()) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    if (this.#isClosed) throw SeaportError.CLOSED('the consumer was closed')
  }

  async #ready({ instance }: ReadOptions) {
    this.#watch()
    // Another instance may be frozen, and is not waited for.
    await (instance === undefined ? this.ready() : this.#settled(instance))
    const denials = [...this.#owners].flatMap(([key, { follower }]) =>
      (instance === undefined || key === instance) && follower.denial ? [follower.denial] : []
    )
    const [denial] = denials
    const others = [...this.#ownersOf({ instance })].length - denials.length
    if (denial && others <= 0) throw denial
  }

  #watch() {
    if (this.#isClosed) throw SeaportError.CLOSED('the consumer was closed')
    if (this.#isWatching) return
    this.#isWatching = true
    const { events } = this.#options
    events.onStreams({
      onsubscribed: (key) => this.#ownerOf(key)?.follower.sync(),
      ondenied: (key, reason) => this.#ownerOf(key)?.follower.deny(reason),
      oninstances: () => this.#oninstances()
    })
    events.on(STATE, (data, { instance }: EventOrigin) => {
      this.#ownerOf(instance)?.follower.take(data)
    })
    // They are told only when they change, and somebody may have listened to events before.
    this.#oninstances()
  }

  /** Keys of the instances that have a state to read. */
  #speaking(): string[] {
    return this.#options
      .instances()
      .filter(({ speaks }) => speaks?.includes(CONVERSATION))
      .slice(0, MAX_FOLLOWED)
      .map(({ servicePublicKey }) => servicePublicKey)
  }

  #oninstances() {
    const speaking = new Set(this.#speaking())
    for (const key of speaking) this.#ownerOf(key)
    for (const [key, owner] of [...this.#owners]) {
      owner.isStale = !speaking.has(key)
      if (owner.isStale) owner.follower.pause()
      if (owner.isStale && owner.copy.size === 0) this.#forget(key, owner)
    }
    const stale = [...this.#owners].filter(([, { isStale }]) => isStale)
    for (const [key, owner] of stale.slice(0, -MAX_STALE)) this.#forget(key, owner)
    const copies = [...this.#owners.values()].map(({ copy }) => copy)
    this.#offering.offer(this.#options.instances(), copies)
    this.#tell()
  }

  #ownerOf(key: string): Owner | null {
    const known = this.#owners.get(key)
    if (known) return known
    if (this.#isClosed || this.#owners.size >= MAX_FOLLOWED + MAX_STALE) return null
    const { scope, sender, retry, onnotice } = this.#options
    const copy = new StateCopy(scope, key)
    const follower = new Follower({
      copy,
      retry,
      read: (have, timeout) =>
        sender.send(STATE, { have }, { instance: key, idempotent: true, timeout }),
      onchange: (change) => this.#onchange(owner, change),
      onsettled: () => {
        this.#checkSize(key, owner)
        this.#tell()
      },
      onnotice
    })
    const owner: Owner = { copy, follower, isStale: false }
    this.#owners.set(key, owner)
    return owner
  }

  #checkSize(key: string, owner: Owner) {
    let bytes = 0
    for (const { copy } of this.#owners.values()) bytes += copy.bytes
    if (bytes <= MAX_BYTES) return
    const stale = [...this.#owners].find(([, { isStale }]) => isStale)
    this.#forget(...(stale ?? [key, owner]))
    this.#options.onnotice(
      SeaportError.LIMIT_REACHED(
        `the states of all instances have ${bytes} bytes, at most ${MAX_BYTES} are allowed`
      )
    )
  }

  #forget(key: string, { follower }: Owner) {
    follower.close()
    this.#owners.delete(key)
  }

  /** Instances whose state was not read yet. */
  #pending(): string[] {
    const speaking = new Set(this.#speaking())
    return [...this.#owners]
      .filter(([key, { follower }]) => speaking.has(key) && !follower.isSettled)
      .map(([key]) => key)
  }

  /** The owners to read, without those that were succeeded by another one. */
  *#ownersOf({ instance }: ReadOptions): Iterable<Owner> {
    const followed = new Map<string, number>()
    for (const { copy } of this.#owners.values()) {
      if (copy.succession && copy.isRightful) {
        followed.set(copy.succession.former.owner, copy.succession.former.term)
      }
    }
    for (const [key, owner] of this.#owners) {
      if (instance !== undefined && instance !== key) continue
      if ((owner.copy.head?.term ?? Infinity) > (followed.get(key) ?? 0)) yield owner
    }
  }

  #newest(
    name: string,
    options: ReadOptions,
    isWanted: (owner: Owner) => boolean = () => true
  ): { owner: Owner; entry: SignedEntry } | undefined {
    let newest: { owner: Owner; entry: SignedEntry } | undefined
    for (const owner of this.#ownersOf(options)) {
      const entry = isWanted(owner) ? owner.copy.get(name) : undefined
      if (entry && (!newest || isLater({ owner, entry }, newest))) newest = { owner, entry }
    }
    return newest
  }

  #onchange(owner: Owner, { name, entry }: CopyChange) {
    for (const listener of this.#listeners) this.#hand(listener, owner, name, entry)
  }

  #hand(listener: StateChangeListener, owner: Owner, name: string, entry: SignedEntry | null) {
    const { head } = owner.copy
    if (!head) return
    try {
      const known = entry ?? { name, rev: head.rev, json: null }
      listener({ ...view(owner, known), deleted: entry === null })
    } catch (error) {
      const text = `a listener to a state has thrown: ${messageOf(error)}`
      this.#options.onnotice(SeaportError.COMMAND_FAILED(text, error))
    }
  }

  #tell() {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

function view(
  { copy, isStale }: Owner,
  { name, rev, json }: Pick<SignedEntry, 'name' | 'rev' | 'json'>
): CopiedEntry {
  const { owner = '', term = 0 } = copy.head ?? {}
  const value = json === null ? undefined : JSON.parse(json)
  return { owner, name, term, rev, value, stale: isStale }
}

/** Whether an entry is later than another. A term that its owner has no right to does not count. */
function isLater(
  a: { owner: Owner; entry: SignedEntry },
  b: { owner: Owner; entry: SignedEntry }
): boolean {
  return compareHeads(place(a), place(b)) > 0
}

function place({ owner: { copy }, entry }: { owner: Owner; entry: SignedEntry }) {
  const { owner = '', term = 0 } = copy.head ?? {}
  return { owner, term: copy.isRightful ? term : 0, rev: entry.rev }
}
