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
}

/** How long what was pushed is kept for an app statement that names it, in ms. */
const PUSHED_MS = 600_000

/** The releases that are on this host, by their hashes. */
export class KeptReleases extends Map<string, Release> {
  readonly #options: KeptReleasesOptions
  /** When each was fetched last, by a monotonic clock: what was pushed may be asked for a moment later only. */
  readonly #fetchedAt = new Map<string, number>()

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
   * Deletes what no app statement needs.
   *
   * @param used hashes of releases of which something runs
   */
  async prune(used: Iterable<string>) {
    const { replica, folder } = this.#options
    const wanted = new Set(used)
    for (const { state, release, kept } of replica.statements.list(APP)) {
      if (state === 'removed') continue
      for (const { release: hash } of [{ release }, ...kept]) wanted.add(hash)
    }
    for (const [hash, since] of this.#fetchedAt) {
      if (performance.now() - since < PUSHED_MS) wanted.add(hash)
      else this.#fetchedAt.delete(hash)
    }
    const superfluous = [...this.keys()].filter((hash) => !wanted.has(hash))
    if (superfluous.length === 0) return
    for (const hash of superfluous) this.delete(hash)
    const releases = await Promise.all(
      [...wanted].map(async (hash) => ({ hash, release: await folder.release(hash) }))
    )
    await folder.prune(
      releases.flatMap(({ hash, release }) => (release ? [{ hash, release }] : []))
    )
  }
}
