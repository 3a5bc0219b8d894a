import { readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { ReadyResource } from '../../core/holepunch.js'
import { isOpenLimit, MORE_FILES } from '../../core/open-limit.js'
import { replaceFile } from '../../core/replace-file.js'
import { SerialQueue } from '../../core/serial-queue.js'
import { makeFolder, PRIVATE_FILE } from './data-folder.js'
import { type Corestore, lastWrites } from './hypercore.js'
import { loadMemory, MEMORY_FILE, type Memory, noMemory, nothingStored } from './memory.js'
import { MemoryDatabase } from './memory-database.js'
import { isLocked, isMoved, isRefused, makeStore, removeOldLogs } from './store.js'

export { defaultDir, makeFolder } from './data-folder.js'
export { isLocked, isRefused, removeOldLogs } from './store.js'
export { temporaryFolder } from './temporary-folder.js'

export interface StorageOptions {
  /** The folder, or what finds it. */
  dir: string | (() => string)
  /**
   * Whether it holds copies only, which others have, too. Then it takes a folder inside `dir` of its own where another
   * process uses that one, and works in memory where there is none that it can use.
   */
  isCopy?: boolean
  /** How often it is looked whether the folder is still there, in ms: writes to a deleted file fail nowhere. */
  checkInterval?: number
}

/** Why a folder cannot be used any more. */
export interface StorageFailure {
  reason: SeaportError
  /** Whether what is there is of no use. If not, it cannot be read or written now. */
  isDamaged: boolean
}

const STORE = 'store'
const ASIDE = 'store-set-aside-'
/** It is made first, and says which file on which disk the store is. */
const MARK = 'CORESTORE'
/** Copies of one user, registry and verb on one machine that are kept; those beyond are in memory. */
const MAX_SLOTS = 64
/** A copy is small, and its processes are many: RocksDB would take 72 MB of disk for each, and as much memory. */
const COPY_WRITE_BUFFER_BYTES = 1024 * 1024
const CHECK_MS = 5000
/** A store that cannot write any more may not close either. */
const CLOSE_TIMEOUT_MS = 5000
/** Opening a store writes some files beside what waits in its log of writes. */
const ROOM_BYTES = 1024 * 1024

/**
 * A participant's folder: the logs in a Corestore, and beside it what it remembers. Emits `notice` (a SeaportError), and
 * `failed` (a StorageFailure) when it cannot be read or written any more: nothing can be done with it then but `reopen`,
 * `workInMemory` and `close`.
 */
export class Storage extends ReadyResource {
  /** The folder in use, '' in memory. */
  dir = ''
  memory: Memory = noMemory()

  readonly #options: Required<StorageOptions>
  #store: Corestore | null = null
  #isInMemory = false
  /** What is wrong with the store in use. */
  #failure: StorageFailure | null = null
  #check: NodeJS.Timeout | null = null
  readonly #saves = new SerialQueue()

  constructor({ dir, isCopy = false, checkInterval = CHECK_MS }: StorageOptions) {
    super()
    this.#options = { dir, isCopy, checkInterval }
  }

  get store(): Corestore {
    if (!this.#store) throw SeaportError.CLOSED('the storage is not open')
    return this.#store
  }

  /** What is wrong with the store in use, null if nothing is. */
  get failure(): StorageFailure | null {
    return this.#failure
  }

  /** Whether nothing is kept. */
  get isInMemory(): boolean {
    return this.#isInMemory
  }

  /** @throws STORAGE_LOCKED, STORAGE_FAILED */
  override async _open() {
    try {
      await this.#openFolder()
    } catch (error) {
      if (!this.#options.isCopy || !(error instanceof SeaportError)) throw error
      this.#openMemory()
      this.emit('notice', nothingKept(error))
    }
    this.#check = setInterval(() => void this.#checkFolder(), this.#options.checkInterval)
  }

  override async _close() {
    if (this.#check) clearInterval(this.#check)
    await this.#saves.idle()
    await this.#closeStore()
  }

  /**
   * Opens the folder anew after it failed. What was opened in the store before is closed.
   *
   * @param isDamaged whether what is there is to be set aside
   * @throws STORAGE_LOCKED, STORAGE_FAILED
   */
  async reopen(isDamaged: boolean) {
    await this.#closeStore()
    if (isDamaged) await this.#setAside(this.dir, 'is damaged')
    await this.#openIn(this.dir)
  }

  /** Goes on without a folder, and without what was in it. What was opened in the store before is closed. */
  async workInMemory() {
    const closed = this.#closeStore()
    this.#openMemory()
    await closed
  }

  /**
   * Writes the memory as a whole; a crash leaves the old one or the new one. A storage that was never open writes
   * nothing: the folder may be another process's, whose memory would be replaced with an empty one.
   *
   * @throws STORAGE_FAILED, unless it is a copy, which goes on
   */
  async save() {
    if (!this.#store || this.#isInMemory) return
    const { dir } = this
    try {
      await this.#saves.run(async () => {
        await replaceFile(join(dir, MEMORY_FILE), JSON.stringify(this.memory, null, 2))
      })
    } catch (cause) {
      this.#onfault(cause as Error)
      if (!this.#options.isCopy) throw cannotUse(dir, cause as Error)
    }
  }

  /** Whether there is room in the folder again for what an open store writes; a folder that is gone is made anew. */
  async hasRoom(): Promise<boolean> {
    const file = join(this.dir, 'room')
    try {
      await makeFolder(this.dir)
      const size = ROOM_BYTES + (await sizeOfWrites(join(this.dir, STORE, 'db')))
      await writeFile(file, Buffer.alloc(size), { flush: true, mode: PRIVATE_FILE })
      return true
    } catch {
      return false
    } finally {
      await rm(file, { force: true }).catch(() => {})
    }
  }

  async #openFolder() {
    const { dir, isCopy } = this.#options
    const home = typeof dir === 'string' ? dir : dir()
    for (const folder of isCopy ? slotsIn(home) : [home]) {
      try {
        this.memory = await loadMemory(folder).catch((cause) => {
          throw cannotUse(folder, cause)
        })
        return await this.#openIn(folder)
      } catch (error) {
        if (!isCopy || (error as SeaportError).code !== 'STORAGE_LOCKED') throw error
      }
    }
    throw SeaportError.STORAGE_LOCKED(
      `${MAX_SLOTS} processes use ${home} already; give this one a folder of its own (--dir)`
    )
  }

  #openMemory() {
    this.#isInMemory = true
    this.#failure = null
    this.dir = ''
    Object.assign(this.memory, nothingStored())
    this.#store = makeStore(new MemoryDatabase())
  }

  /**
   * A folder that was copied, or restored from a backup, is set aside: what it holds may have gone on elsewhere, and to
   * write where another has written would break every reader. So is one that is damaged.
   */
  async #openIn(dir: string) {
    try {
      await this.#tryToOpen(dir)
    } catch (error) {
      const { code, cause } = error as SeaportError
      if (code === 'STORAGE_LOCKED' || isRefused(cause) || !(await hasStore(dir))) throw error
      // Storage mends what it can when it fails.
      if (!isMoved(cause) && (await this.#isMended(dir))) return
      await this.#setAside(dir, isMoved(cause) ? 'was copied or restored' : 'is damaged')
      await this.#tryToOpen(dir)
    }
  }

  async #isMended(dir: string): Promise<boolean> {
    return this.#tryToOpen(dir).then(
      () => true,
      () => false
    )
  }

  async #setAside(dir: string, what: string) {
    // One is enough of what others have.
    if (this.#options.isCopy) await removeAside(dir)
    const aside = join(dir, `${ASIDE}${Date.now()}`)
    try {
      if (await isUnbegun(join(dir, STORE))) return await rm(join(dir, STORE), { recursive: true })
      await rename(join(dir, STORE), aside)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cannotUse(dir, cause as Error)
    }
    const next = this.#options.isCopy ? 'others are asked for another copy' : 'a new log is begun'
    this.emit(
      'notice',
      SeaportError.STORAGE_FAILED(`${dir} ${what}; what it held is kept in ${aside}, and ${next}`)
    )
  }

  /** @throws STORAGE_LOCKED, STORAGE_FAILED */
  async #tryToOpen(dir: string) {
    try {
      await makeFolder(dir)
    } catch (cause) {
      throw cannotUse(dir, cause as Error)
    }
    let store: Corestore | null = null
    try {
      store = makeStore(join(dir, STORE), {
        ...(this.#options.isCopy ? { writeBufferSize: COPY_WRITE_BUFFER_BYTES } : {}),
        onfault: (cause) => this.#store === store && this.#onfault(cause)
      })
      const isNew = await lacksStore(dir)
      await store.ready()
      await removeOldLogs(join(dir, STORE, 'db'))
      this.dir = dir
      this.#store = store
      this.#failure = null
      if (isNew) Object.assign(this.memory, nothingStored())
    } catch (cause) {
      await store?.close().catch(() => {})
      if (isLocked(cause)) {
        throw SeaportError.STORAGE_LOCKED(
          `the folder ${dir} is in use by another process, choose another with --dir`,
          cause
        )
      }
      throw cannotUse(dir, cause as Error)
    }
  }

  #onfault(cause: Error) {
    if (this.#failure || this.#isInMemory || this.closing) return
    const isDamaged = !isRefused(cause) && !isMissing(cause)
    this.#failure = { reason: cannotUse(this.dir, cause), isDamaged }
    this.emit('failed', this.#failure)
  }

  async #checkFolder() {
    const { dir } = this
    if (dir === '' || !this.#store || !(await lacksStore(dir))) return
    if (dir === this.dir && this.#store) this.#onfault(new Error('no such file or directory'))
  }

  /** Never rejects: nobody can do anything about a store that does not close. */
  async #closeStore() {
    const store = this.#store
    this.#store = null
    if (!store) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)
    })
    const closed = lastWrites(store)
      .catch(() => {})
      .then(() => store.close())
      .catch(() => {})
    await Promise.race([closed, late])
    clearTimeout(timer)
  }
}

function* slotsIn(dir: string): Iterable<string> {
  yield dir
  for (let slot = 2; slot <= MAX_SLOTS; slot++) yield join(dir, `slot-${slot}`)
}

async function removeAside(dir: string) {
  for (const name of await readdir(dir).catch(() => [])) {
    if (name.startsWith(ASIDE)) await rm(join(dir, name), { recursive: true, force: true })
  }
}

/** What RocksDB sorts into files when it is opened. */
async function sizeOfWrites(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => [])
  const sizes = names
    .filter((name) => name.endsWith('.log'))
    .map((name) => stat(join(folder, name)).then(({ size }) => size, nothing))
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

function nothing(): number {
  return 0
}

async function hasStore(dir: string): Promise<boolean> {
  return stat(join(dir, STORE)).then(
    () => true,
    () => false
  )
}

/** Whether a store holds nothing: its making ended before its database was begun, as on a full disk. */
async function isUnbegun(store: string): Promise<boolean> {
  const names = await readdir(store)
  return names.every((name) => name === MARK)
}

/** Whether a store is certain not to be there. */
async function lacksStore(dir: string): Promise<boolean> {
  return stat(join(dir, STORE, MARK)).then(
    () => false,
    (cause) => isMissing(cause)
  )
}

function isMissing(error: Error): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT' || /no such file/i.test(error.message)
}

function cannotUse(dir: string, cause: Error): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `the folder ${dir} cannot be used (${cause.message}); ${remedyFor(cause)}`,
    cause
  )
}

function remedyFor(cause: Error): string {
  const text = `${(cause as NodeJS.ErrnoException).code} ${cause.message}`
  if (/no space|ENOSPC|quota|EDQUOT|too large/i.test(text))
    return 'make room there, or choose another with --dir'
  if (isOpenLimit(cause)) return MORE_FILES
  if (/no such file|ENOENT/i.test(text)) return 'it was deleted, or its disk is not there'
  return 'let this user write there, or choose another with --dir'
}

/** Says that a participant goes on without a folder. */
export function nothingKept({ text }: SeaportError): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `${text}. Until it is started again it works in memory, and keeps nothing`
  )
}
