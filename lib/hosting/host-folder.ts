import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { KeyedQueue } from '../core/keyed-queue.js'
import { unlessOpenLimit } from '../core/open-limit.js'
import type { AppLog } from './app-log.js'
import { type ChunkEntry, hashOf, sizeOf } from './bundle/chunk.js'
import { ChunkStore, type ChunkStoreOptions } from './bundle/chunk-store.js'
import { flushFolder, removeSealed, seal, unpack } from './bundle/unpack.js'
import { isJobBegun } from './job.js'
import { endedLog, expireLog, type Occupancy, occupancyOf, writeEnd } from './occupancy.js'
import { decodeRelease, type Release } from './release.js'

const RAW = '.raw'
const GONE = '.gone'

type Bundled = Pick<Release, 'app' | 'bundle' | 'setup' | 'env'>

export interface StoredRelease {
  hash: string
  release: Bundled
}

/** Runs the command `setup` of a release in the folder of its bundle. `name` is the bundle's, for this command. */
export type SetUp = (folder: string, name: string) => Promise<void>

/** The folder of a host: chunks and releases, unpacked bundles, and a folder for each instance. */
export class HostFolder {
  readonly store: ChunkStore
  readonly #dir: string
  /** Unpacks and deletes each bundle, by its name, one after the other. */
  readonly #queue = new KeyedQueue()
  readonly #holds = new Set<Set<string>>()

  constructor(dir: string, options: ChunkStoreOptions = {}) {
    this.#dir = dir
    this.store = new ChunkStore(join(dir, 'chunks'), options)
  }

  instanceFolder(app: string, slot: number): string {
    return join(this.#dir, 'instances', encodeURIComponent(app), `${slot}`)
  }

  /** The instances that ran when the host ended, but for those of which two must never run: they ended with it. */
  async kept(): Promise<Occupancy[]> {
    const kept: Occupancy[] = []
    for (const folder of await this.#instanceFolders()) {
      const occupancy = await occupancyOf(folder)
      if (occupancy?.single) await writeEnd(folder, await this.release(occupancy.hash))
      else if (occupancy) kept.push(occupancy)
    }
    return kept
  }

  /** The logs of an app's instances that have ended here. */
  async endedLogs(app: string): Promise<{ slot: number; log: AppLog }[]> {
    const folders = await this.#instanceFolders(encodeURIComponent(app))
    const ended = await Promise.all(folders.map(async (at) => (await occupancyOf(at)) === null))
    return folders
      .filter((_, i) => ended[i])
      .map((at) => ({ slot: Number(basename(at)), log: endedLog(at) }))
  }

  /**
   * Deletes logs of instances that have ended, once the times for which they are kept are over.
   *
   * @throws the first error, after all others were deleted
   */
  async expireLogs(now = Date.now()) {
    const errors: unknown[] = []
    for (const folder of await this.#instanceFolders()) {
      await expireLog(folder, now).catch((error) => errors.push(error))
    }
    if (errors.length > 0) throw errors[0]
  }

  async #instanceFolders(app?: string): Promise<string[]> {
    const root = join(this.#dir, 'instances')
    const folders: string[] = []
    for (const name of app === undefined ? await namesIn(root) : [app]) {
      const slots = await namesIn(join(root, name))
      for (const slot of slots) folders.push(join(root, name, slot))
    }
    return folders
  }

  /** A release that is stored here; null if it is not. */
  async release(hash: string): Promise<Release | null> {
    const bytes = await this.store.read(hash)
    return bytes && hashOf(bytes) === hash ? decodeRelease(bytes) : null
  }

  /**
   * The releases of these that are stored here.
   *
   * @throws STORAGE_FAILED if one cannot be read, or is damaged
   */
  async stored(hashes: Iterable<string>): Promise<StoredRelease[]> {
    const stored: StoredRelease[] = []
    for (const hash of hashes) {
      const bytes = await this.store.inspect(hash)
      const release = bytes && releaseIn(bytes)
      if (release) stored.push({ hash, release })
    }
    return stored
  }

  /** The folder of a command that runs to its end here. */
  jobFolder(name: string): string {
    return join(this.#dir, 'jobs', name)
  }

  /**
   * The folder of an unpacked bundle, all chunks of which have to be here. It is unpacked and set up once for all its
   * instances.
   *
   * @param setUp left out if it is not to be set up yet
   * @throws DISK_FULL if that would leave too little of the disk, BAD_BUNDLE, STORAGE_FAILED, and what `setUp` throws
   */
  bundle(release: Bundled, entries: readonly ChunkEntry[], setUp?: SetUp): Promise<string> {
    const name = nameOf(release)
    return this.#queue.run(name, () =>
      this.#unpack(name, entries, release.setup === null ? null : setUp)
    )
  }

  /**
   * Protects what is added to it from `prune` and `discard` until `release` is called, and with it all chunks that are
   * fetched meanwhile.
   */
  hold(): { addDocument(hash: string): void; addBundle(release: Bundled): void; release(): void } {
    const chunks = this.store.hold()
    const names = new Set<string>()
    this.#holds.add(names)
    return {
      addDocument: (hash) => chunks.add(hash),
      addBundle: (release) => {
        chunks.add(release.bundle)
        names.add(nameOf(release))
      },
      release: () => {
        chunks.release()
        this.#holds.delete(names)
      }
    }
  }

  /** @param setUp null if there is nothing to set up, undefined if it is done later */
  async #unpack(
    name: string,
    entries: readonly ChunkEntry[],
    setUp: SetUp | null | undefined
  ): Promise<string> {
    const folder = join(this.#dir, 'bundles', name)
    const raw = `${folder}${RAW}`
    const exists = (path: string) => stat(path).catch(() => null)
    const isUnpacked = (await exists(folder)) !== null
    if (isUnpacked && !(await exists(raw))) return folder
    if (!isUnpacked) {
      await this.store.checkRoom(sizeOf(entries))
      await mkdir(join(this.#dir, 'bundles'), { recursive: true })
      // The file is there until the bundle is set up, so that it is never taken for a whole one.
      if (setUp !== null) await writeFile(raw, '')
      try {
        await unpack(this.store.bytesOf(entries), folder, (bytes) => this.store.checkRoom(bytes))
      } catch (error) {
        await rm(raw, { force: true })
        throw error
      }
    }
    if (setUp === undefined) return folder
    try {
      await setUp?.(folder, name)
    } catch (error) {
      // A command that goes on while the host ends is waited for by the next process.
      if (!(await isJobBegun(this.jobFolder(setupJobOf(name))))) await removeSealed(folder)
      throw error
    }
    // What was set up may have written far more than was unpacked.
    if (setUp !== null) await flushFolder(folder)
    await seal(folder)
    await rm(raw, { force: true })
    return folder
  }

  /** Deletes bundles and chunks that none of these releases needs, but for what is held, or being unpacked. */
  async prune(releases: readonly StoredRelease[]) {
    const lists = releases.map(({ release }) => release.bundle)
    await this.store.retain(
      lists,
      releases.map(({ hash }) => hash)
    )
    const kept = new Set(releases.map(({ release }) => nameOf(release)))
    const files = await readdir(join(this.#dir, 'bundles')).catch(() => [])
    // The folder of a bundle comes before its file, which says that it is not whole.
    for (const file of files.sort()) {
      const [name = ''] = file.split('.')
      // Anything else was left by a process that was killed while it unpacked or deleted.
      const isBundle = file === name || file === `${name}${RAW}`
      if (this.#isInUse(name) || (kept.has(name) && isBundle)) continue
      await this.#queue.run(name, () => this.#remove(file))
    }
  }

  /**
   * Deletes the unpacked bundles of some releases, but for those that others need, too, and those that were set up: that
   * may take long, or what it brought not be had again.
   */
  async discard(releases: readonly StoredRelease[], others: readonly StoredRelease[]) {
    const needed = new Set(others.map(({ release }) => nameOf(release)))
    for (const { release } of releases) {
      const name = nameOf(release)
      const isNeeded = release.setup !== null || needed.has(name) || this.#isInUse(name)
      if (!isNeeded) await this.#queue.run(name, () => this.#remove(name))
    }
  }

  #isInUse(name: string): boolean {
    return this.#queue.has(name) || [...this.#holds].some((hold) => hold.has(name))
  }

  /** Under another name, so that what is left of it after a crash is not taken for a whole bundle. */
  async #remove(name: string) {
    const folder = join(this.#dir, 'bundles', name)
    const gone = `${folder}${GONE}`
    await removeSealed(gone)
    await rename(folder, gone).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    await removeSealed(gone)
  }
}

/** Null if it is no release, whatever named it. */
function releaseIn(bytes: Buffer): Release | null {
  try {
    return decodeRelease(bytes)
  } catch {
    return null
  }
}

/** The job that sets up a bundle. */
export function setupJobOf(name: string): string {
  return `setup-${name}`
}

/** The name of a bundle's folder. Whatever sets it up differently, or for another app, has another one. */
function nameOf({ app, bundle, setup, env }: Bundled): string {
  return setup === null ? bundle : hashOf(Buffer.from(JSON.stringify([app, bundle, setup, env])))
}

/** What is in a folder; nothing if there is none. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error) => {
    unlessOpenLimit(error)
    return []
  })
}
