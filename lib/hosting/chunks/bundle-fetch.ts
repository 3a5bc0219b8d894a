import { Abort, type Signal } from '../../core/abort.js'
import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type ChunkEntry, decodeChunkList, hashOf } from '../bundle/chunk.js'
import type { ChunkStore } from '../bundle/chunk-store.js'

/** The keys that may be asked for the chunks of a bundle, in hex. Our own key among them is ignored. */
export interface ChunkSources {
  /** Hosts that have all of it. */
  seeders?: readonly string[]
  /** The deployer. It has all of it, but its line should carry each chunk only once. */
  pusher?: string | undefined
  /** All hosts that fetch it at the same time, including this one. Each of them has to be given the same ones. */
  peers?: readonly string[]
}

export interface BundleFetchOptions {
  /** The hash of the bundle's list. */
  list: string
  /** Our own key, hex. */
  key: string
  store: ChunkStore
  sources: ChunkSources
  /** Asks a key for a chunk. */
  ask: (key: string, hash: string, signal: Signal) => Promise<Buffer>
  /** Signals that end the fetch. */
  signals: readonly Signal[]
  /** How long a source that was lost or sent nothing is not asked, in ms. */
  pause?: number | undefined
  /** Called when a source sent something else than it was asked for. */
  onnotice: (error: SeaportError) => void
  /** Called when a chunk has come, or is now expected from another source. Without a hash that holds for any chunk. */
  onchange: (hash?: string) => void
}

export interface FetchProgress {
  chunks: number
  bytes: number
  /** The number of chunks that were missing when the fetch began. */
  allChunks: number
  allBytes: number
}

/** How many chunks one source is asked for at a time. */
const ASKED_AT_A_TIME = 4
/** How many failures in a row exclude a source that was lost or sent nothing. On a busy machine such failures pass. */
const MAX_STRIKES = 3
const STRIKE_PAUSE_MS = 1000
const PASSING: readonly string[] = ['OPEN_TIMEOUT', 'LINK_LOST', 'STREAM_RESET']

/** A missing chunk, and the sources that were asked for it. */
interface Missing extends ChunkEntry {
  tried: Set<string>
}

/**
 * Fetches what is missing of one bundle. Each chunk leaves the deployer once: the host that comes first in the chunk's
 * rendezvous order asks the deployer for it, and the others ask that host. A source that keeps failing, or sends
 * something else, is not asked again, and the next one is.
 */
export class BundleFetch {
  readonly list: string
  readonly progress: FetchProgress = { chunks: 0, bytes: 0, allChunks: 0, allBytes: 0 }

  readonly #options: BundleFetchOptions
  readonly #store: ChunkStore
  readonly #abort = new Abort()
  /** Chunks that wait to be asked for, by source. */
  readonly #queues = new Map<string, Missing[]>()
  readonly #asking = new Map<string, number>()
  readonly #out = new Set<string>()
  /** Passing failures in a row, by source; and the timers of sources that are not asked for a moment. */
  readonly #strikes = new Map<string, number>()
  readonly #pauses = new Map<string, NodeJS.Timeout>()
  /** The source from which each chunk is expected, by the chunk's hash. */
  readonly #coming = new Map<string, string>()
  readonly #seeders = new Set<string>()
  /** Deployers, the last one first: those before may be gone. */
  #pushers: readonly string[] = []
  readonly #peers = new Set<string>()
  /** How often sources were added. What was asked of one before says nothing of what it has now. */
  #additions = 0
  /** Whether it is known which chunks are missing. */
  #isPlanned = false
  #onsettled: ((error: SeaportError | null) => void) | null = null

  constructor(options: BundleFetchOptions) {
    this.list = options.list
    this.#options = options
    this.#store = options.store
    this.add(options.sources)
  }

  /** Whether a source has all of it. What comes from such a source is progress for those who wait for us. */
  isGiver(key: string): boolean {
    return this.#pushers.includes(key) || this.#seeders.has(key)
  }

  /**
   * Whether others may wait here for a chunk. They may if it is expected from a source that has all of it, so that no
   * two hosts wait for each other. Before the list is here, that may be so for any chunk.
   */
  willHave(hash: string): boolean {
    const from = this.#coming.get(hash)
    return from === undefined ? !this.#isPlanned : this.isGiver(from)
  }

  /**
   * Adds sources that were found since. Those that were excluded may be asked again, and where each chunk is asked for is
   * planned anew: what turned to others because one was away would leave a deployer that is back more than once.
   */
  add({ seeders = [], pusher, peers = [] }: ChunkSources) {
    for (const key of seeders) this.#seeders.add(key)
    for (const key of peers) this.#peers.add(key)
    if (pusher !== undefined) this.#pushers = [...new Set([pusher, ...this.#pushers])]
    this.#additions++
    this.#out.clear()
    this.#strikes.clear()
    const waiting = [...this.#queues.values()].flatMap((queue) => queue.splice(0))
    for (const missing of waiting) {
      missing.tried.clear()
      this.#enqueue(missing, unreachable(this.list))
    }
    if (waiting.length > 0) this.#options.onchange()
    for (const key of this.#queues.keys()) this.#pump(key)
  }

  /**
   * Fetches the bundle.
   *
   * @returns the chunks of the bundle, all of which are in the store
   * @throws the error of the last source that was asked; DISK_FULL, BAD_BUNDLE, or the signal's reason
   */
  async run(): Promise<ChunkEntry[]> {
    const stops = this.#options.signals.map((signal) => {
      const onabort = () => this.#abort.abort(signal.reason)
      if (signal.aborted) onabort()
      signal.addEventListener('abort', onabort, { once: true })
      return () => signal.removeEventListener('abort', onabort)
    })
    const hold = this.#store.hold()
    try {
      this.#check()
      const entries = (await this.#store.list(this.list)) ?? (await this.#fetchList())
      for (const { hash } of entries) hold.add(hash)
      const missing = await this.#store.missing(entries)
      this.progress.allChunks = missing.length
      this.progress.allBytes = missing.reduce((sum, { size }) => sum + size, 0)
      // What is here already can be used however full the disk is.
      if (missing.length > 0) await this.#store.checkRoom(this.progress.allBytes)
      await this.#fetchAll(missing)
      return entries
    } finally {
      hold.release()
      for (const timer of this.#pauses.values()) clearTimeout(timer)
      for (const stop of stops) stop()
      this.#abort.abort(SeaportError.CLOSED('the bundle is fetched no more'))
    }
  }

  /** @throws the reason of the signal that has ended it */
  #check() {
    if (this.#abort.aborted) throw this.#abort.reason
  }

  async #fetchList(): Promise<ChunkEntry[]> {
    let reason = unreachable(this.list)
    const tried = new Set<string>()
    for (;;) {
      const additions = this.#additions
      // The list is small and needed first, so each host asks for it itself, the deployer included. Others may be added
      // while one is asked.
      const sources = [...this.#seeders, ...this.#pushers, ...this.#peers]
      const key = sources.find((one) => one !== this.#options.key && !tried.has(one))
      if (key === undefined) throw reason
      tried.add(key)
      try {
        const list = await this.#ask(key, this.list)
        const entries = decodeChunkList(list)
        await this.#store.write(list)
        this.#options.onchange(this.list)
        return entries
      } catch (error) {
        this.#check()
        reason = error as SeaportError
        if (reason.code === 'DISK_FULL') throw reason
        if (additions !== this.#additions) tried.clear()
      }
    }
  }

  #fetchAll(missing: readonly ChunkEntry[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const signal = this.#abort
      this.#onsettled = (error) => {
        this.#onsettled = null
        if (error) reject(error)
        else resolve()
      }
      if (signal.aborted) return reject(signal.reason)
      signal.addEventListener('abort', () => this.#onsettled?.(signal.reason as SeaportError))
      if (missing.length === 0) return resolve()
      for (const entry of missing) {
        this.#enqueue({ ...entry, tried: new Set() }, unreachable(this.list))
      }
      this.#isPlanned = true
      this.#options.onchange()
      for (const key of this.#queues.keys()) this.#pump(key)
    })
  }

  /** Queues a chunk at its next source. If there is none, the fetch fails with the error of the one before. */
  #enqueue(missing: Missing, reason: SeaportError) {
    const key = this.#nextFor(missing)
    if (key === undefined) return this.#onsettled?.(reason)
    missing.tried.add(key)
    this.#coming.set(missing.hash, key)
    const queue = this.#queues.get(key) ?? []
    this.#queues.set(key, queue)
    queue.push(missing)
  }

  #nextFor({ hash, tried }: Missing): string | undefined {
    return this.#sourcesOf(hash).find((key) => !this.#out.has(key) && !tried.has(key))
  }

  #pump(key: string) {
    if (this.#pauses.has(key)) return
    while (this.#onsettled && (this.#asking.get(key) ?? 0) < ASKED_AT_A_TIME) {
      const missing = this.#queues.get(key)?.shift()
      if (!missing) return
      this.#asking.set(key, (this.#asking.get(key) ?? 0) + 1)
      void this.#fetchFrom(key, missing)
    }
  }

  /** Never rejects. */
  async #fetchFrom(key: string, missing: Missing) {
    const additions = this.#additions
    try {
      const chunk = await this.#ask(key, missing.hash)
      this.#strikes.delete(key)
      await this.#store.write(chunk)
      this.#coming.delete(missing.hash)
      this.progress.chunks++
      this.progress.bytes += chunk.byteLength
      this.#options.onchange(missing.hash)
      if (this.#coming.size === 0) this.#onsettled?.(null)
    } catch (error) {
      const isNews = additions === this.#additions
      this.#onfailed(key, missing, error as SeaportError, isNews)
    } finally {
      this.#asking.set(key, (this.#asking.get(key) ?? 1) - 1)
      this.#pump(key)
    }
  }

  /** @param isNews whether no source was added since the chunk was asked for */
  #onfailed(key: string, missing: Missing, error: SeaportError, isNews: boolean) {
    if (!this.#onsettled) return
    if (error.code === 'DISK_FULL' || error.code === 'STORAGE_FAILED') return this.#onsettled(error)
    const turned = [missing]
    if (!isNews && error.code !== 'BAD_BUNDLE') {
      missing.tried.clear()
    } else if (PASSING.includes(error.code) && this.#strike(key)) {
      // If there is no other source, this one is asked again.
      if (this.#nextFor(missing) === undefined) missing.tried.delete(key)
    } else if (error.code !== 'NOT_FOUND') {
      // The source is excluded. One that only lacks this chunk (NOT_FOUND) is not, since it may have the others.
      this.#out.add(key)
      turned.push(...(this.#queues.get(key)?.splice(0) ?? []))
    }
    for (const one of turned) {
      this.#enqueue(one, error)
      this.#options.onchange(one.hash)
    }
    for (const other of [...this.#queues.keys()]) if (other !== key) this.#pump(other)
  }

  /**
   * Pauses a source after a passing failure. Returns false if it failed too often in a row. Failures during a pause do
   * not count.
   */
  #strike(key: string): boolean {
    if (this.#pauses.has(key)) return true
    const strikes = (this.#strikes.get(key) ?? 0) + 1
    this.#strikes.set(key, strikes)
    if (strikes >= MAX_STRIKES) return false
    const { pause = STRIKE_PAUSE_MS } = this.#options
    const timer = setTimeout(() => {
      this.#pauses.delete(key)
      this.#pump(key)
    }, pause)
    this.#pauses.set(key, timer)
    return true
  }

  /** @throws BAD_BUNDLE if the source sends something else */
  async #ask(key: string, hash: string): Promise<Buffer> {
    const chunk = await this.#options.ask(key, hash, this.#abort)
    if (hashOf(chunk) === hash) return chunk
    const error = badChunk(key, hash)
    this.#options.onnotice(error)
    throw error
  }

  /** The sources to ask for a chunk, in this order. */
  #sourcesOf(hash: string): string[] {
    const { key } = this.#options
    const seeders = ranked(hash, [...this.#seeders])
    const [first, ...others] = ranked(hash, [...new Set([...this.#peers, key])])
    const owner = first === key || first === undefined ? [] : [first]
    const order = [...seeders, ...owner, ...this.#pushers, ...others]
    return [...new Set(order)].filter((source) => source !== key)
  }
}

/** The error for a source that has sent something else than it was asked for. */
export function badChunk(key: string, hash: string): SeaportError {
  return SeaportError.BAD_BUNDLE(
    `${key} sent a chunk that is not ${hash.slice(0, 8)}…; it is fetched elsewhere`
  )
}

/** Keys in the rendezvous order of a chunk: each host computes the same. */
function ranked(hash: string, keys: readonly string[]): string[] {
  const rank = (key: string) => crypto.hash(Buffer.from(hash + key, 'hex')).toString('hex')
  return keys
    .map((key) => ({ key, rank: rank(key) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ key }) => key)
}

function unreachable(list: string): SeaportError {
  return SeaportError.NO_INSTANCE(`nobody who has the bundle ${list.slice(0, 8)}… can be reached`)
}
