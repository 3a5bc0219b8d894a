import { EventEmitter } from 'node:events'
import type { SeaportError } from '../../core/errors.js'
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
  /** Opens a copy of a log, and has it copied. */
  open: (logKey: string, options: OpenOptions) => Hypercore
}

interface CopiesEvents {
  /** More of a log was read. */
  applied: [logKey: string]
  /** We have another snapshot of a log. */
  held: [logKey: string]
  /** What a log says of some instances was read. */
  entries: [entries: [key: string, entry: LogEntry][]]
  notice: [SeaportError]
}

/** Blocks that many ask for at once: they are small. */
const INFLIGHT: [number, number] = [256, 512]

/** Our copies of the logs of others, each followed into the directory. */
export class Followers extends EventEmitter<CopiesEvents> {
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
    follower.on('notice', (notice) => this.emit('notice', notice))
    follower.on('applied', () => this.emit('applied', logKey))
    follower.on('held', () => this.emit('held', logKey))
    follower.on('tidied', () => {
      storage.store.storage.compact().catch((notice) => this.emit('notice', notice))
    })
    await follower.ready()
  }

  /** A peer has so much of a log. */
  offer(logKey: string, length: number, snapshot: Snapshot | null = null) {
    this.#followers.get(logKey)?.offer(length, snapshot)
  }

  /** Blocks that are in the directory. */
  applied(logKey: string): number {
    return this.#followers.get(logKey)?.applied ?? 0
  }

  /** Blocks that somebody connected was seen to have. */
  offered(logKey: string): number {
    return this.#followers.get(logKey)?.offered ?? 0
  }

  /** Blocks that were written, as far as we know. */
  written(logKey: string): number {
    return Math.max(this.offered(logKey), this.#followers.get(logKey)?.core.length ?? 0)
  }

  /** For the next run: what is on disk. */
  remember() {
    this.#options.storage.memory.applied = Object.fromEntries(
      [...this.#followers].map(([logKey, { applied }]) => [logKey, applied])
    )
  }

  /** Follows a log no more. */
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
