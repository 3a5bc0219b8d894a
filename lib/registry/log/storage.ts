import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { ReadyResource } from '../../core/holepunch.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { Snapshot } from '../trust/snapshot.js'
import { makeFolder, PRIVATE_FILE } from './data-folder.js'
import { Corestore, isLocked, isMoved, lastWrites } from './hypercore.js'

export { defaultDir } from './data-folder.js'

export interface StorageOptions {
  dir: string
  /** Use a temporary folder where this one is in use by another process. */
  fallback?: boolean
}

/** What a participant remembers beside the logs. */
export interface Memory {
  certificates: unknown[]
  grants: unknown[]
  /** Blocks of each log that were read into the directory, by log key. */
  applied: { [logKey: string]: number }
  /** The snapshot of each log that is there as a whole. */
  snapshots: { [logKey: string]: Snapshot }
  /** Keys of cores with blocks of other snapshots, and the log of each. */
  strays: { [key: string]: string }
  /** A registrar's own log: how many it began before, and how its last run ended. */
  run: { log: number; boot: string; ended: boolean } | null
}

const MEMORY_FILE = 'registry.json'

/** Says that a replica could not use its folder. */
export function temporaryNotice(dir: string): SeaportError {
  return SeaportError.STORAGE_LOCKED(
    `the data folder is in use by another process, this one works in ${dir} and forgets it at the end`
  )
}

/** A participant's folder: the logs in a Corestore, and beside it what it remembers. Emits `notice` (a SeaportError). */
export class Storage extends ReadyResource {
  /** The folder in use. */
  dir: string
  /** Whether that is a temporary one, which goes when this is closed. */
  temporary = false
  memory: Memory = noMemory()

  readonly #fallback: boolean
  #store: Corestore | null = null
  readonly #saves = new SerialQueue()

  constructor({ dir, fallback = false }: StorageOptions) {
    super()
    this.dir = dir
    this.#fallback = fallback
  }

  get store(): Corestore {
    if (!this.#store) throw SeaportError.CLOSED('the storage is not open')
    return this.#store
  }

  /** @throws STORAGE_LOCKED, STORAGE_FAILED */
  override async _open() {
    try {
      this.#store = await this.#openHere()
    } catch (error) {
      if (!this.#fallback || (error as SeaportError).code !== 'STORAGE_LOCKED') throw error
      this.dir = await mkdtemp(join(tmpdir(), 'hyperseaport-'))
      this.temporary = true
      this.#store = await openStore(this.dir)
    }
    this.memory = await this.#load()
  }

  /**
   * A folder that was copied, or restored from a backup, is set aside: what it holds may have gone on
   * elsewhere, and to write where another has written would break every reader.
   */
  async #openHere(): Promise<Corestore> {
    try {
      return await openStore(this.dir)
    } catch (error) {
      if (!isMoved((error as Error).cause)) throw error
      const aside = join(this.dir, `store-set-aside-${Date.now()}`)
      await rename(join(this.dir, 'store'), aside)
      this.emit(
        'notice',
        SeaportError.STORAGE_FAILED(
          `${this.dir} was copied or restored; what it held is kept in ${aside}, and a new one is begun`
        )
      )
      return await openStore(this.dir)
    }
  }

  override async _close() {
    await this.#saves.idle()
    if (this.#store) await lastWrites(this.#store)
    await this.#store?.close()
    if (this.temporary) await rm(this.dir, { recursive: true, force: true })
  }

  /**
   * Writes the memory as a whole; a crash leaves the old one or the new one. A storage that was never open writes
   * nothing: the folder may be another process's, whose memory would be replaced with an empty one.
   */
  async save() {
    if (!this.#store) return
    await this.#saves.run(async () => {
      const file = join(this.dir, MEMORY_FILE)
      await writeFile(`${file}.new`, JSON.stringify(this.memory, null, 2), { mode: PRIVATE_FILE })
      await rename(`${file}.new`, file)
    })
  }

  /** A memory that cannot be read is as good as none: the network knows the rest. */
  async #load(): Promise<Memory> {
    try {
      const text = await readFile(join(this.dir, MEMORY_FILE), 'utf8')
      const { certificates, grants = [], applied, snapshots, strays, run = null } = JSON.parse(text)
      return {
        certificates: [...certificates],
        grants: [...grants],
        applied: { ...applied },
        snapshots: { ...snapshots },
        strays: { ...strays },
        run
      }
    } catch {
      return noMemory()
    }
  }
}

function noMemory(): Memory {
  return { certificates: [], grants: [], applied: {}, snapshots: {}, strays: {}, run: null }
}

async function openStore(dir: string): Promise<Corestore> {
  try {
    await makeFolder(dir)
  } catch (cause) {
    throw SeaportError.STORAGE_FAILED(
      `the folder ${dir} cannot be made (${(cause as Error).message})`,
      cause
    )
  }
  const store = new Corestore(join(dir, 'store'))
  try {
    await store.ready()
    return store
  } catch (cause) {
    await store.close().catch(() => {})
    if (isLocked(cause)) {
      throw SeaportError.STORAGE_LOCKED(
        `the folder ${dir} is in use by another process, choose another with --dir`,
        cause
      )
    }
    throw SeaportError.STORAGE_FAILED(
      `the folder ${dir} cannot be opened (${(cause as Error).message})`,
      cause
    )
  }
}
