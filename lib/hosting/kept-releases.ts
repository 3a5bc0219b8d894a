import { Abort } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { SerialQueue } from '../core/serial-queue.js'
import type { Replica } from '../registry/replica/replica.js'
import { APP } from '../registry/trust/signed.js'
import type { ChunkExchange } from './chunks/chunk-exchange.js'
import { hostsOf } from './fleet.js'
import type { HostFolder } from './host-folder.js'
import { decodeRelease, type Release } from './release.js'

export interface KeptReleasesOptions {
  replica: Replica
  folder: HostFolder
  exchange: ChunkExchange
  /** A monotonic clock, in ms. */
  now?: () => number
}

export interface FetchTerms {
  /** The app that it has to be of. */
  app: string
  /** The key of who has it, beside hosts. */
  pusher?: string | undefined
}

export interface Needed {
  /** Hashes of releases that run here, or are to. */
  used: Iterable<string>
  /** Apps that may still have to go back to the release before, which stays unpacked until then. */
  unproven: ReadonlySet<string>
}

/**
 * How long what was pushed is kept for an app statement that names it, in ms; and what came of a fetch that failed, for
 * whoever tries it again.
 */
const PUSHED_MS = 600_000

/** After it could not be read what is needed, for how long nothing is deleted, in ms. */
const PAUSE_MS = 60_000

/** The releases that are on this host, by their hashes. */
export class KeptReleases extends Map<string, Release> {
  readonly #options: KeptReleasesOptions
  readonly #now: () => number
  /** When each was fetched last, by that clock: what was pushed may be asked for a moment later only. */
  readonly #fetchedAt = new Map<string, number>()
  /** The hashes of what was kept for a rollback alone when `prune` was called last. */
  #idle = ''
  /** When it is tried again to delete something, after that has failed. */
  #againAt = 0
  /** When what is left of fetches that failed is looked for. The process before may have left something, too. */
  #straysAt: number
  readonly #fetching = new Set<Promise<Release>>()
  readonly #abort = new Abort()
  /** Deletes one time after the other. */
  readonly #pruning = new SerialQueue()

  constructor(options: KeptReleasesOptions) {
    super()
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#straysAt = this.#now() + PUSHED_MS
  }

  /**
   * Fetches a release: its document, and its bundle. That is unpacked at once, so that whoever pushes it hears of what is
   * wrong with it. Until then nothing of it is deleted, however long it takes.
   *
   * @throws BAD_BUNDLE if it is of another app, too; CLOSED, and what `ChunkExchange.fetch` and `HostFolder.bundle` throw
   */
  fetch(hash: string, terms: FetchTerms): Promise<Release> {
    const fetching = this.#fetch(hash, terms)
    this.#fetching.add(fetching)
    return fetching.finally(() => this.#fetching.delete(fetching))
  }

  async #fetch(hash: string, { app, pusher }: FetchTerms): Promise<Release> {
    // A `prune` that is under way may be deleting the very bundle. One that comes later sees what is held.
    await this.#pruning.idle()
    const { replica, exchange, folder } = this.#options
    const hold = folder.hold()
    hold.addDocument(hash)
    try {
      const hosts = hostsOf(replica).map(({ host }) => host)
      const terms = { sources: { pusher, peers: hosts }, signal: this.#abort }
      if (terms.signal.aborted) throw terms.signal.reason
      const release = decodeRelease(await exchange.fetchDocument(hash, terms))
      if (release.app !== app) throw ofAnother(release.app, app)
      hold.addBundle(release)
      const entries = await exchange.fetch(release.bundle, terms)
      await folder.bundle(release, entries)
      this.set(hash, release)
      return release
    } finally {
      this.#fetchedAt.set(hash, this.#now())
      this.#awaitStrays()
      // A `prune` that is under way may have decided what it deletes before the release was here.
      void this.#pruning.idle().then(() => hold.release())
    }
  }

  /** Ends all fetches. Resolves when nothing of them is written any more. */
  async close() {
    this.#abort.abort(SeaportError.CLOSED('the host is closing'))
    await Promise.allSettled(this.#fetching)
    await this.#pruning.idle()
  }

  /**
   * Deletes what no app statement needs. Of what is kept for a rollback alone, only the chunks stay: it is unpacked again
   * when it is wanted.
   *
   * @param needed called when its turn has come
   * @returns in how many ms there may be more to delete, whatever else happens; Infinity if there is nothing
   * @throws STORAGE_FAILED if it cannot be read what is needed; nothing is tried for a minute then
   */
  prune(needed: () => Needed): Promise<number> {
    return this.#pruning.run(() => this.#prune(needed()))
  }

  async #prune({ used, unproven }: Needed): Promise<number> {
    const now = this.#now()
    if (now < this.#againAt) return this.#againAt - now
    const ready = new Set(used)
    const kept = new Set<string>()
    for (const app of this.#options.replica.statements.list(APP)) {
      if (app.state === 'removed') continue
      ready.add(app.release)
      for (const { release } of app.kept) kept.add(release)
      const [former] = app.kept
      if (former && unproven.has(app.app)) ready.add(former.release)
    }
    for (const [hash, since] of this.#fetchedAt) {
      const isNamed = ready.has(hash) || kept.has(hash)
      if (isNamed || now - since >= PUSHED_MS) this.#fetchedAt.delete(hash)
      else ready.add(hash)
    }
    const idle = [...kept].filter((hash) => !ready.has(hash))
    const superfluous = [...this.keys()].filter((hash) => !ready.has(hash) && !kept.has(hash))
    const names = idle.sort().join()
    const isAnyGone = superfluous.length > 0 || now >= this.#straysAt
    if (!isAnyGone && names === this.#idle) return this.#dueIn(now)
    const removed = superfluous.map((hash) => [hash, this.get(hash) as Release] as const)
    for (const hash of superfluous) this.delete(hash)
    try {
      const { folder } = this.#options
      const [ofReady, ofIdle] = [await folder.stored(ready), await folder.stored(idle)]
      if (isAnyGone) await folder.prune([...ofReady, ...ofIdle])
      await folder.discard(ofIdle, ofReady)
      this.#idle = names
      if (isAnyGone) this.#straysAt = Infinity
      this.#awaitStrays()
      return this.#dueIn(now)
    } catch (error) {
      for (const [hash, release] of removed) if (!this.has(hash)) this.set(hash, release)
      this.#againAt = this.#now() + PAUSE_MS
      const { message } = error as Error
      throw SeaportError.STORAGE_FAILED(
        `releases are kept, and nothing is deleted: ${message}`,
        error
      )
    }
  }

  /** A fetch that failed may have left something, which is deleted when nobody has tried it again for long enough. */
  #awaitStrays() {
    const hasFailed = [...this.#fetchedAt.keys()].some((hash) => !this.has(hash))
    if (hasFailed) this.#straysAt = Math.min(this.#straysAt, this.#now() + PUSHED_MS)
  }

  #dueIn(now: number): number {
    const dueAt = [...this.#fetchedAt.values()].map((since) => since + PUSHED_MS)
    return Math.min(this.#straysAt, ...dueAt) - now
  }
}

function ofAnother(app: string, wanted: string): SeaportError {
  return SeaportError.BAD_BUNDLE(`the release is of ${app}, and not of ${wanted}`)
}
