import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { type ChunkEntry, hashOf, isHash } from './chunk.js'
import type { BundleEntry, Seen, SeenHead } from './contents.js'

interface Kept {
  version: number
  /** The beginnings of files, by path. */
  heads: Record<string, { mark: string; never: string | null; native: string | null }>
  /** The chunks of each group, by the marks of the group's files. */
  groups: Record<string, ChunkEntry[]>
}

const VERSION = 1
/**
 * A file that changes again within one tick of the disk's clock has the same times. So a file that is younger than this
 * is read again.
 */
const RACY_MS = 2000
const MS_PER_NS = 1e-6

/**
 * Remembers what packing a folder found. Files that have not changed since (by size, times and inode) are not read
 * again. If it is lost or damaged, all files are read.
 */
export class PackMemory implements Seen {
  readonly #path: string
  readonly #now: () => number
  readonly #heads: Map<string, Kept['heads'][string]>
  readonly #groups: Map<string, ChunkEntry[]>
  /** What was asked for or set since it was opened. Only that is saved. */
  readonly #next: Kept = { version: VERSION, heads: {}, groups: {} }
  #since: number

  private constructor(path: string, kept: Kept, now: () => number) {
    this.#path = path
    this.#now = now
    this.#heads = new Map(Object.entries(kept.heads))
    this.#groups = new Map(Object.entries(kept.groups))
    this.#since = now()
  }

  /** @param path a file of its own, which is made by `save` */
  static async open(path: string, now = Date.now): Promise<PackMemory> {
    const kept = await readFile(path, 'utf8')
      .then((text) => JSON.parse(text))
      .catch(() => null)
    return new PackMemory(path, isKept(kept) ? kept : { version: 0, heads: {}, groups: {} }, now)
  }

  headOf(entry: BundleEntry): SeenHead | undefined {
    const known = this.#heads.get(entry.path)
    if (known?.mark !== entry.mark) return undefined
    this.#next.heads[entry.path] = known
    const { never, native } = known
    return { never, native: native === null ? null : Buffer.from(native, 'base64') }
  }

  setHead(entry: BundleEntry, { never, native }: SeenHead) {
    if (!this.#isSettled(entry)) return
    const { path, mark } = entry
    this.#next.heads[path] = { mark, never, native: native?.toString('base64') ?? null }
  }

  chunksOf(group: readonly BundleEntry[]): ChunkEntry[] | undefined {
    const name = nameOf(group)
    const known = this.#groups.get(name)
    if (known) this.#next.groups[name] = known
    return known
  }

  setChunks(group: readonly BundleEntry[], chunks: ChunkEntry[]) {
    if (group.every((entry) => this.#isSettled(entry))) this.#next.groups[nameOf(group)] = chunks
  }

  /** Saves it for the next time. That this fails is no error: everything is read again then. */
  async save() {
    const temporary = `${this.#path}.${process.pid}.part`
    try {
      await writeFile(temporary, JSON.stringify(this.#next), { mode: 0o600 })
      await rename(temporary, this.#path)
    } catch {
      await rm(temporary, { force: true }).catch(() => {})
    }
    this.#since = this.#now()
  }

  #isSettled({ mark }: BundleEntry): boolean {
    const changed = mark.split(' ').slice(1, 3).map(Number)
    return Math.max(0, ...changed) * MS_PER_NS < this.#since - RACY_MS
  }
}

function nameOf(group: readonly BundleEntry[]): string {
  const files = group.map(({ path, kind, target, mark }) => [path, kind, target, mark])
  return hashOf(Buffer.from(JSON.stringify(files)))
}

function isKept(value: unknown): value is Kept {
  const { version, heads, groups } = Object(value)
  if (version !== VERSION || typeof heads !== 'object' || typeof groups !== 'object') return false
  return Object.values(Object(groups) as Kept['groups']).every(
    (chunks) => Array.isArray(chunks) && chunks.every(({ hash }) => isHash(hash))
  )
}
