import { EventEmitter } from 'node:events'
import type { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import type { Hypercore } from '../log/hypercore.js'
import { Snapshots } from '../log/snapshots.js'
import type { Storage } from '../log/storage.js'
import type { LogEntry } from '../trust/record.js'
import type { Snapshot } from '../trust/snapshot.js'
import type { Statements } from '../trust/statements.js'
import type { Directory } from './directory.js'
import { Follower } from './follower.js'
import type { OpenOptions } from './replication.js'

export interface FollowersOptions {
  storage: Storage
  /** The registry's public key. */
  registry: Buffer
  directory: Directory
  statements: Statements
  /** Opens our copy of a log, and has blocks fetched. */
  open: (logKey: string, options: OpenOptions) => Hypercore
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

  constructor(options: FollowersOptions) {
    super()
    this.#options = options
    this.snapshots = new Snapshots(options.storage)
  }

  /** Resolves when what is on disk is in the directory. */
  async follow(logKey: string) {
    const { storage, registry, directory, statements, open } = this.#options
    const follower = new Follower({
      open: (options) => open(logKey, { inflightRange: INFLIGHT, ...options }),
      registry,
      snapshots: this.snapshots,
      kinds: statements.kinds,
      applied: storage.memory.applied[logKey] ?? 0,
      onentries: (entries) => {
        directory.apply(logKey, entries)
        this.emit('entries', entries)
      },
      onretain: (keys) => directory.retain(logKey, keys),
      onstatement: (statement) => statements.add(statement)
    })
    this.#followers.set(logKey, follower)
    forward(follower, this, ['notice'])
    follower.on('applied', () => this.emit('applied', logKey))
    follower.on('held', () => this.emit('held', logKey))
    follower.on('tidied', () => {
      storage.store.storage.compact().catch((notice) => this.emit('notice', notice))
    })
    await follower.ready()
  }

  /** A peer said what it has of a log. */
  offer(logKey: string, length: number, snapshot: Snapshot | null = null) {
    this.#followers.get(logKey)?.offer(length, snapshot)
  }

  /** How many blocks of a log are in the directory. */
  applied(logKey: string): number {
    return this.#followers.get(logKey)?.applied ?? 0
  }

  /** How many blocks of a log connected peers said that they have. */
  offered(logKey: string): number {
    return this.#followers.get(logKey)?.offered ?? 0
  }

  /** How many blocks of a log were written, as far as we know. */
  written(logKey: string): number {
    return Math.max(this.offered(logKey), this.#followers.get(logKey)?.core.length ?? 0)
  }

  /** Puts into the memory how far each log was read, for the next run. */
  remember() {
    this.#options.storage.memory.applied = Object.fromEntries(
      [...this.#followers].map(([logKey, { applied }]) => [logKey, applied])
    )
  }

  /** Stops following a log, and forgets what it says. */
  async drop(logKey: string) {
    const follower = this.#followers.get(logKey)
    this.#followers.delete(logKey)
    this.#options.directory.drop(logKey)
    await follower?.close()
    await this.snapshots.forget(logKey)
  }

  async close() {
    for (const follower of this.#followers.values()) await follower.close()
  }
}
