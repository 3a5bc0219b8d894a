import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChunkEntry, hashOf } from './bundle/chunk.js'
import { ChunkStore, type ChunkStoreOptions } from './bundle/chunk-store.js'
import { removeSealed, seal, unpack } from './bundle/unpack.js'
import { expireLog, type Occupancy, occupancyOf } from './hosted-instance.js'
import { decodeRelease, type Release } from './release.js'

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

  /** The instances that ran when the host ended. */
  async kept(): Promise<Occupancy[]> {
    const all = await Promise.all((await this.#instanceFolders()).map(occupancyOf))
    return all.filter((kept) => kept !== null)
  }

  /** Deletes logs of instances that have ended, once the times for which they are kept are over. */
  async expireLogs(now = Date.now()) {
    for (const folder of await this.#instanceFolders()) await expireLog(folder, now)
  }

  async #instanceFolders(): Promise<string[]> {
    const root = join(this.#dir, 'instances')
    const folders: string[] = []
    for (const app of await readdir(root).catch(() => [])) {
      for (const slot of await readdir(join(root, app))) folders.push(join(root, app, slot))
    }
    return folders
  }

  /** A release that is stored here; null if it is not. */
  async release(hash: string): Promise<Release | null> {
    const bytes = await this.store.read(hash)
    return bytes && hashOf(bytes) === hash ? decodeRelease(bytes) : null
  }

  /**
   * The folder of an unpacked bundle, all chunks of which have to be here. It is unpacked once for all its instances.
   */
  bundle(list: string, entries: readonly ChunkEntry[]): Promise<string> {
    const unpacking = this.#unpacking.get(list) ?? this.#unpack(list, entries)
    this.#unpacking.set(list, unpacking)
    return unpacking.finally(() => this.#unpacking.delete(list))
  }

  async #unpack(list: string, entries: readonly ChunkEntry[]): Promise<string> {
    const folder = join(this.#dir, 'bundles', list)
    if (await stat(folder).catch(() => null)) return folder
    await mkdir(join(this.#dir, 'bundles'), { recursive: true })
    await unpack(this.store.bytesOf(entries), folder)
    await seal(folder)
    return folder
  }

  /** Deletes bundles and chunks that none of these releases needs. `list` is the hash of a bundle's list. */
  async prune(releases: readonly { hash: string; list: string }[]) {
    const lists = new Set(releases.map(({ list }) => list))
    await this.store.retain([...lists, ...releases.map(({ hash }) => hash)])
    const folder = join(this.#dir, 'bundles')
    for (const name of await readdir(folder).catch(() => [])) {
      if (!lists.has(name) && !this.#unpacking.has(name)) await removeSealed(join(folder, name))
    }
  }
}
