import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { type Head, headOf } from '../log/head.js'
import { Snapshots } from '../log/snapshots.js'
import type { Storage } from '../log/storage.js'
import type { Peer } from '../swarm/peer.js'
import type { LogEntry } from '../trust/record.js'
import type { Snapshot } from '../trust/snapshot.js'
import type { Statements } from '../trust/statements.js'
import type { Directory } from './directory.js'
import { Follower } from './follower.js'
import { Replication } from './replication.js'
import type { StatementSources } from './statement-sources.js'

export interface FollowersOptions {
  storage: Storage
  /** The registry's public key. */
  registry: Buffer
  directory: Directory
  statements: Statements
  /** Remembers which log holds which statements. */
  sources: StatementSources
  /** How many peers the logs are served to. */
  maxPeers: () => number
  /** The key of the registrar that writes a log now, null if none does any more. */
  writerOf: (logKey: string) => string | null
}

interface FollowersEvents {
  /** More of a log was read. */
  applied: [logKey: string]
  /** We have another snapshot of a log. */
  held: [logKey: string]
  /** What a log says of some instances was read. */
  entries: [entries: [key: string, entry: LogEntry][]]
  notice: [SeaportError]
}

/** How many blocks are requested at once. Many, because they are small. */
const INFLIGHT: [number, number] = [256, 512]

/** Our copies of the logs of others, each followed into the directory. */
export class Followers extends EventEmitter<FollowersEvents> {
  readonly snapshots: Snapshots
  readonly #options: FollowersOptions
  readonly #followers = new Map<string, Follower>()
  /** Those that the logs are served to. */
  readonly #peers = new Set<Peer>()
  /** From whom the logs are copied, in the store that is open; null if none is. */
  #replication: Replication | null = null
  #isMoving = false
  /** Logs to be followed once the storage is open again, and who followed each before. */
  readonly #left = new Map<string, Follower | null>()

  constructor(options: FollowersOptions) {
    super()
    this.#options = options
    this.snapshots = new Snapshots(options.storage)
  }

  /**
   * Serves the logs to a peer, and asks it for what is needed. One that is too many is told so: it still gets leases and
   * pings, and can copy the logs from other replicas.
   */
  serve(peer: Peer): SeaportError | null {
    if (this.#peers.size >= this.#options.maxPeers()) {
      const refusal = SeaportError.LIMIT_REACHED(
        `the logs are served to ${this.#peers.size} others already, and to no more`
      )
      peer.tell(refusal)
      return refusal
    }
    this.#peers.add(peer)
    peer.on('close', () => this.#peers.delete(peer))
    if (!this.#isMoving) this.#copying.add(peer)
    return null
  }

  /** Resolves when what is on disk is in the directory. */
  async follow(logKey: string, before: Follower | null = null) {
    if (this.#isMoving) {
      this.#left.set(logKey, before)
      return
    }
    const { storage, registry, directory, statements, sources, writerOf } = this.#options
    const follower = new Follower({
      open: (options) =>
        this.#copying.open(logKey, () => writerOf(logKey), { inflightRange: INFLIGHT, ...options }),
      before,
      registry,
      snapshots: this.snapshots,
      kinds: statements.kinds,
      applied: storage.memory.applied[logKey] ?? 0,
      onentries: (entries) => {
        directory.apply(logKey, entries)
        this.emit('entries', entries)
      },
      onretain: (keys) => directory.retain(logKey, keys),
      onstatement: (statement) => {
        sources.add(logKey, statement)
        statements.add(statement)
      }
    })
    this.#followers.set(logKey, follower)
    forward(follower, this, ['notice'])
    follower.on('applied', () => this.emit('applied', logKey))
    follower.on('held', () => this.emit('held', logKey))
    follower.on('tidied', () => {
      // Whether a store can still be written is its storage's to tell.
      storage.store.storage.compact().catch(() => {})
    })
    await follower.ready()
  }

  /**
   * Has the storage opened anew, or elsewhere, and copies there what is not there. What the directory says stays
   * meanwhile.
   *
   * @throws what `open` throws; it has to be called again then
   */
  async move(open: () => Promise<void>) {
    this.remember()
    this.#isMoving = true
    this.#replication = null
    const closing = [...this.#followers.values()].map((follower) => follower.close())
    for (const [logKey, follower] of this.#followers) this.#left.set(logKey, follower)
    this.#followers.clear()
    await open()
    await Promise.allSettled(closing)
    this.#isMoving = false
    for (const peer of this.#peers) this.#copying.add(peer)
    const left = [...this.#left]
    this.#left.clear()
    for (const [logKey, before] of left) await this.follow(logKey, before)
  }

  /** A peer has so many blocks of a log, of those that were proven to be written. */
  offer(logKey: string, length: number, snapshot: Snapshot | null = null) {
    const follower = this.#followers.get(logKey) ?? this.#left.get(logKey)
    follower?.offer(length, snapshot)
  }

  /** A peer said that it can give so many blocks of a log. */
  setLength(logKey: string, peer: Peer, length: number) {
    if (!this.#isMoving) this.#copying.setLength(logKey, peer, length)
  }

  /** Whether a log is followed, and what is on disk of it was read. */
  has(logKey: string): boolean {
    return this.#followers.get(logKey)?.opened ?? false
  }

  /** How many blocks of a log are in the directory. */
  applied(logKey: string): number {
    return this.#followers.get(logKey)?.applied ?? 0
  }

  /** How far a log went, as far as our copy can prove. */
  head(logKey: string): Head | null {
    const core = this.#followers.get(logKey)?.core
    return core?.opened && !core.closing ? headOf(core) : null
  }

  /** How many blocks of a log connected peers were seen to have. */
  offered(logKey: string): number {
    return this.#followers.get(logKey)?.offered ?? 0
  }

  /** How many blocks of a log were written, as far as we know. */
  written(logKey: string): number {
    return Math.max(this.offered(logKey), this.#followers.get(logKey)?.core.length ?? 0)
  }

  /** Puts into the memory how far each log was read, for the next run. */
  remember() {
    if (this.#isMoving) return
    this.#options.storage.memory.applied = Object.fromEntries(
      [...this.#followers].map(([logKey, { applied }]) => [logKey, applied])
    )
  }

  /** Stops following a log, and forgets what it says. */
  async drop(logKey: string) {
    const follower = this.#followers.get(logKey)
    this.#followers.delete(logKey)
    this.#left.delete(logKey)
    this.#options.directory.drop(logKey)
    this.#options.sources.drop(logKey)
    await follower?.discard()
    await this.snapshots.forget(logKey)
  }

  async close() {
    for (const follower of this.#followers.values()) await follower.close()
  }

  get #copying(): Replication {
    this.#replication ??= new Replication(this.#options.storage.store)
    return this.#replication
  }
}
