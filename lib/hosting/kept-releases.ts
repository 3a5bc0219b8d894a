import type { Replica } from '../registry/replica/replica.js'
import { APP } from '../registry/trust/signed.js'
import type { ChunkExchange } from './chunks/chunk-exchange.js'
import { hostsOf } from './fleet.js'
import type { HostFolder, StoredRelease } from './host-folder.js'
import { decodeRelease, type Release } from './release.js'

export interface KeptReleasesOptions {
  replica: Replica
  folder: HostFolder
  exchange: ChunkExchange
}

/** How long what was pushed is kept for an app statement that names it, in ms. */
const PUSHED_MS = 600_000

/** The releases that are on this host, by their hashes. */
export class KeptReleases extends Map<string, Release> {
  readonly #options: KeptReleasesOptions
  /** When each was fetched last, by a monotonic clock: what was pushed may be asked for a moment later only. */
  readonly #fetchedAt = new Map<string, number>()
  /** The hashes of what was kept for a rollback alone when `prune` was called last. */
  #idle = ''
  #pruning: Promise<void> = Promise.resolve()

  constructor(options: KeptReleasesOptions) {
    super()
    this.#options = options
  }

  /**
   * Fetches a release: its document, and its bundle. That is unpacked at once, so that whoever pushes it hears of what is
   * wrong with it.
   *
   * @param pusher the key of who has it, beside hosts
   */
  async fetch(hash: string, pusher?: string): Promise<Release> {
    this.#fetchedAt.set(hash, performance.now())
    // A `prune` that is under way may be deleting the very bundle.
    await this.#pruning.catch(() => {})
    const { replica, exchange, folder } = this.#options
    const hosts = hostsOf(replica).map(({ host }) => host)
    const sources = { pusher, peers: hosts }
    const release = decodeRelease(await exchange.fetchDocument(hash, { sources }))
    await exchange.fetch(release.bundle, { sources })
    await folder.bundle(release, (await folder.store.list(release.bundle)) ?? [])
    this.set(hash, release)
    return release
  }

  /**
   * Deletes what no app statement needs. Of what is kept for a rollback alone, only the chunks stay: it is unpacked again
   * when it is wanted.
   *
   * @param used hashes of releases that run here, or are to
   */
  async prune(used: Iterable<string>) {
    const ready = new Set(used)
    const kept = new Set<string>()
    for (const app of this.#options.replica.statements.list(APP)) {
      if (app.state === 'removed') continue
      ready.add(app.release)
      for (const { release } of app.kept) kept.add(release)
    }
    for (const [hash, since] of this.#fetchedAt) {
      const isNamed = ready.has(hash) || kept.has(hash)
      if (isNamed || performance.now() - since > PUSHED_MS) this.#fetchedAt.delete(hash)
      else ready.add(hash)
    }
    const idle = [...kept].filter((hash) => !ready.has(hash))
    const superfluous = [...this.keys()].filter((hash) => !ready.has(hash) && !kept.has(hash))
    const ofIdle = idle.sort().join()
    if (superfluous.length === 0 && ofIdle === this.#idle) return
    this.#idle = ofIdle
    for (const hash of superfluous) this.delete(hash)
    this.#pruning = this.#prune([...ready], idle, superfluous.length > 0)
    await this.#pruning
  }

  async #prune(ready: string[], idle: string[], hasSuperfluous: boolean) {
    const { folder } = this.#options
    const [ofReady, ofIdle] = await Promise.all([this.#stored(ready), this.#stored(idle)])
    if (hasSuperfluous) await folder.prune([...ofReady, ...ofIdle])
    await folder.discard(ofIdle, ofReady)
  }

  async #stored(hashes: string[]): Promise<StoredRelease[]> {
    const { folder } = this.#options
    const stored = hashes.map(async (hash) => ({ hash, release: await folder.release(hash) }))
    return (await Promise.all(stored)).flatMap(({ hash, release }) =>
      release ? [{ hash, release }] : []
    )
  }
}
