import { lstatSync } from 'node:fs'
import { open, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { MAX_BUNDLE_BYTES } from './chunk.js'
import { IgnoreRules, neverOf, neverOfHead } from './left-out.js'
import { staysInside } from './link-target.js'
import { NATIVE_HEAD_BYTES, platformsOfHead } from './native.js'

/** An entry of a bundle. Only empty folders are listed; the others follow from the paths of their files. */
export interface BundleEntry {
  /** The path, with slashes, relative to the root. */
  path: string
  kind: 'file' | 'link' | 'folder'
  size: number
  isExecutable: boolean
  /** The target of a link. */
  target: string
  /** Identifies the file's state: it changes when the file does. */
  mark: string
}

/** Something that is not in the bundle, and why. A folder stands for everything in it. */
export interface LeftOut {
  path: string
  why: string
}

export interface Contents {
  /** Sorted by their paths. */
  entries: BundleEntry[]
  leftOut: LeftOut[]
  /** The size of the files in bytes. */
  size: number
  /** The beginnings of native files, which run on some platforms only. */
  natives: { path: string; head: Buffer }[]
}

/** What an earlier run found in a file. It is used as long as the file's mark is the same. */
export interface Seen {
  headOf(entry: BundleEntry): SeenHead | undefined
}

export interface SeenHead {
  /** Why the file is left out, null if it is not. */
  never: string | null
  /** The beginning of a native file; null if it is not native. */
  native: Buffer | null
}

export const MAX_ENTRIES = 100_000
/** How many bytes of a file's beginning are searched for a private key. A chain of certificates may come before it. */
const HEAD_BYTES = 16_384
/** The longest path, and the longest name in it, in bytes. */
export const MAX_PATH_BYTES = 2048
const MAX_NAME_BYTES = 255
const EXECUTABLE = 0o111
const IGNORED = 'an ignore file names it'

/**
 * Finds the entries of a folder's bundle: everything that `.seaportignore`, or else `.gitignore`, does not exclude,
 * without files that may be secret and links that lead outside. They do not depend on times, owners or the order on the
 * disk.
 *
 * @param onhead told what a file's beginning is, to be asked for it the next time
 * @throws BAD_BUNDLE if there are too many files, or too large ones; STORAGE_FAILED
 */
export async function contentsOf(
  root: string,
  seen?: Seen,
  onhead: (entry: BundleEntry, head: SeenHead) => void = () => {}
): Promise<Contents> {
  const contents: Contents = { entries: [], leftOut: [], size: 0, natives: [] }
  try {
    await new Walk(root, contents, seen, onhead).into('', await IgnoreRules.of(root))
  } catch (error) {
    if (error instanceof SeaportError) throw error
    throw SeaportError.STORAGE_FAILED(`the app cannot be read: ${(error as Error).message}`, error)
  }
  contents.entries.sort(byPath)
  contents.leftOut.sort(byPath)
  return contents
}

class Walk {
  readonly #root: string
  readonly #contents: Contents
  readonly #seen: Seen | undefined
  readonly #onhead: (entry: BundleEntry, head: SeenHead) => void
  readonly #buffer = Buffer.alloc(HEAD_BYTES)

  constructor(
    root: string,
    contents: Contents,
    seen: Seen | undefined,
    onhead: (entry: BundleEntry, head: SeenHead) => void
  ) {
    this.#root = root
    this.#contents = contents
    this.#seen = seen
    this.#onhead = onhead
  }

  /** @param at `''` or `a/b/` */
  async into(at: string, rules: IgnoreRules): Promise<void> {
    const names = await readdir(join(this.#root, at), { withFileTypes: true })
    const before = this.#contents.entries.length
    for (const item of names) {
      const path = at + item.name
      const why = this.#whyNot(item.name, path, rules, item.isDirectory())
      if (why !== null) this.#contents.leftOut.push({ path, why })
      else if (item.isDirectory()) {
        await this.into(`${path}/`, await rules.below(this.#root, `${path}/`))
      } else await this.#take(path)
    }
    const isEmpty = at !== '' && this.#contents.entries.length === before
    // A folder is listed if it was empty. One from which everything was left out is not.
    if (isEmpty && names.length === 0) this.#add(anEntry(at.slice(0, -1), 'folder'))
  }

  #whyNot(name: string, path: string, rules: IgnoreRules, isFolder: boolean): string | null {
    if (name.includes('\ufffd')) return 'its name is not UTF-8'
    const tooLong = Buffer.byteLength(name) > MAX_NAME_BYTES
    if (tooLong || Buffer.byteLength(path) > MAX_PATH_BYTES) return 'its path is too long'
    if (rules.leaveOut(isFolder ? `${path}/` : path)) return IGNORED
    return neverOf(name)
  }

  async #take(path: string) {
    const full = join(this.#root, path)
    // This is synchronous because awaiting each of ten thousand files would take ten times as long.
    const stat = lstatSync(full, { bigint: true })
    if (stat.isSymbolicLink()) {
      const target = await readlink(full)
      if (staysInside(path, target)) this.#add(anEntry(path, 'link', { target }))
      else this.#contents.leftOut.push({ path, why: 'it is a link that may lead out' })
      return
    }
    if (!stat.isFile()) {
      this.#contents.leftOut.push({ path, why: 'it is neither a file, a folder nor a link' })
      return
    }
    const { size, mode, mtimeNs, ctimeNs, ino } = stat
    const isExecutable = (Number(mode) & EXECUTABLE) !== 0
    const mark = [size, mtimeNs, ctimeNs, ino, isExecutable].join(' ')
    const entry = anEntry(path, 'file', { size: Number(size), isExecutable, mark })
    const { never, native } = this.#seen?.headOf(entry) ?? (await this.#look(full, entry))
    if (never !== null) this.#contents.leftOut.push({ path, why: never })
    else this.#add(entry)
    if (never === null && native) this.#contents.natives.push({ path, head: native })
  }

  async #look(full: string, entry: BundleEntry): Promise<SeenHead> {
    const file = await open(full)
    try {
      const { bytesRead } = await file.read(this.#buffer, 0, HEAD_BYTES, 0)
      const head = this.#buffer.subarray(0, bytesRead)
      const isNative = platformsOfHead(head).length > 0
      const native = isNative ? Buffer.from(head.subarray(0, NATIVE_HEAD_BYTES)) : null
      const found = { never: neverOfHead(head), native }
      this.#onhead(entry, found)
      return found
    } finally {
      await file.close()
    }
  }

  #add(entry: BundleEntry) {
    const { entries } = this.#contents
    entries.push(entry)
    this.#contents.size += entry.size
    if (entries.length > MAX_ENTRIES) throw tooMuch(`${MAX_ENTRIES} files`)
    if (this.#contents.size > MAX_BUNDLE_BYTES) throw tooMuch(`${MAX_BUNDLE_BYTES} bytes`)
  }
}

function tooMuch(most: string): SeaportError {
  return SeaportError.BAD_BUNDLE(
    `the folder has more than ${most}: name in .seaportignore what the app does not need`
  )
}

function anEntry(
  path: string,
  kind: BundleEntry['kind'],
  fields: Partial<BundleEntry> = {}
): BundleEntry {
  return { path, kind, size: 0, isExecutable: false, target: '', mark: '', ...fields }
}

/** Compares paths by code units, which gives the same order in every locale. */
function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0
}
