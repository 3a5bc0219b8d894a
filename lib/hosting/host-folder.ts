import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { AppLog } from './app-log.js'
import { type ChunkEntry, hashOf } from './bundle/chunk.js'
import { ChunkStore, type ChunkStoreOptions } from './bundle/chunk-store.js'
import { removeSealed, seal, unpack } from './bundle/unpack.js'
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
  readonly #unpacking = new Map<string, Promise<string>>()

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

  /** Deletes logs of instances that have ended, once the times for which they are kept are over. */
  async expireLogs(now = Date.now()) {
    for (const folder of await this.#instanceFolders()) await expireLog(folder, now)
  }

  async #instanceFolders(app?: string): Promise<string[]> {
    const root = join(this.#dir, 'instances')
    const folders: string[] = []
    for (const name of app === undefined ? await readdir(root).catch(() => []) : [app]) {
      const slots = await readdir(join(root, name)).catch(() => [])
      for (const slot of slots) folders.push(join(root, name, slot))
    }
    return folders
  }

  /** A release that is stored here; null if it is not. */
  async release(hash: string): Promise<Release | null> {
    const bytes = await this.store.read(hash)
    return bytes && hashOf(bytes) === hash ? decodeRelease(bytes) : null
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
   */
  bundle(release: Bundled, entries: readonly ChunkEntry[], setUp?: SetUp): Promise<string> {
    const name = nameOf(release)
    const former = this.#unpacking.get(name) ?? Promise.resolve('')
    const unpacking = former
      .catch(() => {})
      .then(() => this.#unpack(name, entries, release.setup === null ? null : setUp))
    this.#unpacking.set(name, unpacking)
    return unpacking.finally(() => {
      if (this.#unpacking.get(name) === unpacking) this.#unpacking.delete(name)
    })
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
      await mkdir(join(this.#dir, 'bundles'), { recursive: true })
      // The file is there until the bundle is set up, so that it is never taken for a whole one.
      if (setUp !== null) await writeFile(raw, '')
      await unpack(this.store.bytesOf(entries), folder)
    }
    if (setUp === undefined) return folder
    try {
      await setUp?.(folder, name)
    } catch (error) {
      // A command that goes on while the host ends is waited for by the next process.
      if (!(await isJobBegun(this.jobFolder(setupJobOf(name))))) await removeSealed(folder)
      throw error
    }
    await seal(folder)
    await rm(raw, { force: true })
    return folder
  }

  /** Deletes bundles and chunks that none of these releases needs. */
  async prune(releases: readonly StoredRelease[]) {
    const lists = releases.map(({ release }) => release.bundle)
    await this.store.retain([...lists, ...releases.map(({ hash }) => hash)])
    const kept = new Set(releases.map(({ release }) => nameOf(release)))
    const folder = join(this.#dir, 'bundles')
    for (const file of await readdir(folder).catch(() => [])) {
      const name = file.replace(RAW, '')
      if (!kept.has(name) && !this.#unpacking.has(name)) await this.#remove(file)
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
      const isNeeded = release.setup !== null || needed.has(name) || this.#unpacking.has(name)
      if (!isNeeded) await this.#remove(name)
    }
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

/** The job that sets up a bundle. */
export function setupJobOf(name: string): string {
  return `setup-${name}`
}

/** The name of a bundle's folder. Whatever sets it up differently, or for another app, has another one. */
function nameOf({ app, bundle, setup, env }: Bundled): string {
  return setup === null ? bundle : hashOf(Buffer.from(JSON.stringify([app, bundle, setup, env])))
}
