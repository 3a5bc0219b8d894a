import { randomBytes } from 'node:crypto'
import { access, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { type ChunkEntry, decodeChunkList, hashOf, isHash, MAX_CHUNK_BYTES } from './chunk.js'

export interface ChunkStoreOptions {
  /** Part of the disk that stays free, from 0 to 1. Nothing is taken that would leave less. */
  minFree?: number
}

const MIN_FREE = 0.1
const PERCENT = 100
const MARK_BYTES = 8

/**
 * Chunks on a disk, each in a file named by its hash. A chunk is there whole or not at all, and its hash is checked
 * whenever it is read. So the store needs no index, and a process may end at any time.
 */
export class ChunkStore {
  readonly stats = { written: 0, writtenBytes: 0, broken: 0, deleted: 0 }

  readonly #folder: string
  readonly #minFree: number
  readonly #holds = new Set<Set<string>>()
  /** Names our files until they are whole. A pid would not do: a process that was killed may have had the same. */
  readonly #mark = randomBytes(MARK_BYTES).toString('hex')
  #files = 0
  /** Settles when the file that is being deleted is gone: whoever holds it by now must not find it there. */
  #deleting: Promise<unknown> = Promise.resolve()

  /** @param folder is made if it does not exist. Nothing else may be in it. */
  constructor(folder: string, { minFree = MIN_FREE }: ChunkStoreOptions = {}) {
    if (!(minFree >= 0 && minFree < 1)) {
      throw SeaportError.USAGE('minFree is a part of the disk, from 0 to less than 1')
    }
    this.#folder = folder
    this.#minFree = minFree
  }

  /** Whether there is such a chunk. It may still turn out to be damaged when it is read. */
  async has(hash: string): Promise<boolean> {
    await this.#deleting
    return access(this.#pathOf(hash)).then(
      () => true,
      () => false
    )
  }

  /**
   * @returns null if there is none, or it does not match its hash; such a file is deleted
   * @throws STORAGE_FAILED
   */
  async read(hash: string): Promise<Buffer | null> {
    const chunk = await this.#readFile(hash)
    if (chunk === null || hashOf(chunk) === hash) return chunk
    this.stats.broken++
    await rm(this.#pathOf(hash), { force: true })
    return null
  }

  /**
   * As `read` does, but what is damaged stays as it is.
   *
   * @throws STORAGE_FAILED if it is damaged, too
   */
  async inspect(hash: string): Promise<Buffer | null> {
    const chunk = await this.#readFile(hash)
    if (chunk === null || hashOf(chunk) === hash) return chunk
    throw SeaportError.STORAGE_FAILED(`${this.#pathOf(hash)} is damaged`)
  }

  /**
   * Stores a chunk, unless it is there.
   *
   * @returns its hash
   * @throws DISK_FULL, STORAGE_FAILED
   */
  async write(chunk: Uint8Array): Promise<string> {
    const hash = hashOf(chunk)
    this.#hold(hash)
    if (await this.has(hash)) return hash
    await this.checkRoom(chunk.byteLength)
    const path = this.#pathOf(hash)
    const temporary = join(this.#folder, `${this.#mark}-${this.#files++}.part`)
    try {
      await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
      await writeNew(temporary, chunk)
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      throw failure(error)
    }
    this.stats.written++
    this.stats.writtenBytes += chunk.byteLength
    return hash
  }

  /**
   * Makes sure that this many bytes can be written.
   *
   * @throws DISK_FULL, STORAGE_FAILED
   */
  async checkRoom(bytes: number) {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 }).catch((error) => {
      throw failure(error)
    })
    const { bavail, blocks, bsize } = await statfs(this.#folder).catch((error) => {
      throw failure(error)
    })
    const room = bavail * bsize - this.#minFree * blocks * bsize
    if (room >= bytes) return
    throw SeaportError.DISK_FULL(
      `${bytes} bytes more would leave less than ${Math.round(this.#minFree * PERCENT)} % of the disk of ${this.#folder} free`
    )
  }

  /**
   * The chunks of a bundle.
   *
   * @param list the hash of its list
   * @returns null if the list is not there
   * @throws BAD_BUNDLE if what is there is no list, STORAGE_FAILED
   */
  async list(list: string): Promise<ChunkEntry[] | null> {
    const bytes = await this.read(list)
    return bytes === null ? null : decodeChunkList(bytes)
  }

  /** The chunks of a list that are not there, each once. All of them are protected by the holds that there are. */
  async missing(entries: readonly ChunkEntry[]): Promise<ChunkEntry[]> {
    for (const { hash } of entries) this.#hold(hash)
    const each = [...new Map(entries.map((entry) => [entry.hash, entry])).values()]
    const isThere = await inTurn(each, ({ hash }) => this.has(hash))
    return each.filter((_, i) => !isThere[i])
  }

  /**
   * The bytes of a bundle, chunk by chunk.
   *
   * @throws BAD_BUNDLE if a chunk is not there, or is not as long as the list says
   */
  async *bytesOf(entries: readonly ChunkEntry[]): AsyncGenerator<Buffer> {
    for (const { hash, size } of entries) {
      const chunk = await this.read(hash)
      if (chunk?.byteLength !== size) {
        throw SeaportError.BAD_BUNDLE(`chunk ${hash} is missing: it has to be fetched again`)
      }
      yield chunk
    }
  }

  /**
   * Protects chunks from `retain` until `release` is called: those that are added to it, and all that are written or
   * looked for meanwhile.
   */
  hold(): { add(hash: string): void; release(): void } {
    const hashes = new Set<string>()
    this.#holds.add(hashes)
    return { add: (hash) => hashes.add(hash), release: () => this.#holds.delete(hashes) }
  }

  /**
   * Deletes all chunks that none of these bundles and documents needs. If a list cannot be read, nobody knows which those
   * are, and nothing is deleted.
   *
   * @param lists the hashes of the bundles' lists
   * @param documents the hashes of the documents
   * @throws STORAGE_FAILED
   */
  async retain(lists: Iterable<string>, documents: Iterable<string> = []) {
    const needed = new Set(documents)
    for (const list of lists) {
      needed.add(list)
      for (const { hash } of await this.#neededBy(list)) needed.add(hash)
    }
    await this.#deleteUnless(async (hash) => needed.has(hash))
  }

  /** Has no process that writes to the store take this for unused, as of now. What is gone is found missing later. */
  async use(bundle: Iterable<string>, now = Date.now()) {
    const time = new Date(now)
    for (const hash of new Set(bundle)) {
      await utimes(this.#pathOf(hash), time, time).catch(() => {})
    }
  }

  /**
   * Deletes all that was in no bundle for so long, for a store that several processes write to.
   *
   * @param bundle the hashes of what is in a bundle now
   * @param unused in ms
   * @throws STORAGE_FAILED
   */
  async expire(bundle: Iterable<string>, unused: number, now = Date.now()) {
    await this.use(bundle, now)
    const isYoung = async (_: string, path: string) =>
      now - ((await stat(path).catch(() => null))?.mtimeMs ?? now) < unused
    await this.#deleteUnless(isYoung)
  }

  /** Files that are no whole chunks have the name ''. */
  async #deleteUnless(isKept: (hash: string, path: string) => Promise<boolean>) {
    for (const name of await namesIn(this.#folder)) {
      const path = join(this.#folder, name)
      const isOthers = name.endsWith('.part') && !name.startsWith(`${this.#mark}-`)
      if (isOthers && !(await isKept('', path))) await rm(path, { force: true })
      if (!/^[0-9a-f]{2}$/.test(name)) continue
      for (const rest of await namesIn(path)) {
        const hash = name + rest
        const file = join(path, rest)
        if ((await isKept(hash, file)) || this.#isHeld(hash)) continue
        const deleted = rm(file, { force: true })
        this.#deleting = deleted.catch(() => {})
        await deleted
        this.stats.deleted++
      }
    }
  }

  async #neededBy(list: string): Promise<ChunkEntry[]> {
    const bytes = await this.inspect(list)
    try {
      return bytes === null ? [] : decodeChunkList(bytes)
    } catch {
      // It is as it was sent, and no list: no bundle can be made of it.
      return []
    }
  }

  async #readFile(hash: string): Promise<Buffer | null> {
    await this.#deleting
    let file: Awaited<ReturnType<typeof open>> | undefined
    try {
      file = await open(this.#pathOf(hash))
      const { size } = await file.stat()
      return size > MAX_CHUNK_BYTES ? Buffer.alloc(0) : await file.readFile()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw failure(error)
    } finally {
      await file?.close()
    }
  }

  #hold(hash: string) {
    for (const hold of this.#holds) hold.add(hash)
  }

  #isHeld(hash: string): boolean {
    return [...this.#holds].some((hold) => hold.has(hash))
  }

  /** Files are spread over 256 folders. */
  #pathOf(hash: string): string {
    if (!isHash(hash)) throw SeaportError.BAD_BUNDLE('this is no hash of a chunk')
    return join(this.#folder, hash.slice(0, 2), hash.slice(2))
  }
}

async function writeNew(path: string, chunk: Uint8Array) {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(chunk)
  } finally {
    await file.close()
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw failure(error)
  }
}

/** Asks for one item after the other, so that a large bundle does not open thousands of files at a time. */
async function inTurn<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = []
  for (const item of items) answers.push(await ask(item))
  return answers
}

function failure(error: unknown): SeaportError {
  if (error instanceof SeaportError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return SeaportError.DISK_FULL(`the disk took no more of a chunk (${code})`)
  }
  return SeaportError.STORAGE_FAILED(`chunks cannot be kept: ${message}`, error)
}
