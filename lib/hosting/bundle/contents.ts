import { lstatSync } from 'node:fs'
import { open, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { MAX_BUNDLE_BYTES } from './chunk.js'
import { IgnoreRules, neverOf, neverOfHead } from './left-out.js'
import { staysInside } from './link-target.js'
import { NATIVE_HEAD_BYTES, platformsOfHead } from './native.js'

/** A part of a bundle. Folders are listed only if nothing is in them; the others follow from their files. */
export interface BundleEntry {
  /** With slashes, relative to the root. */
  path: string
  kind: 'file' | 'link' | 'folder'
  size: number
  isExecutable: boolean
  /** Of a link. */
  target: string
  /** The file as it was seen: it changes when the file does. */
  mark: string
}

/** What is not in the bundle, and why. A folder stands for all that is in it. */
export interface LeftOut {
  path: string
  why: string
}

export interface Contents {
  /** Sorted by their paths. */
  entries: BundleEntry[]
  leftOut: LeftOut[]
  /** Bytes of the files. */
  size: number
  /** Beginnings of the files that run on some platforms only. */
  natives: { path: string; head: Buffer }[]
}

/** What was found in a file at an earlier time, by its path; taken over while its mark is the same. */
export interface Seen {
  headOf(entry: BundleEntry): SeenHead | undefined
}

export interface SeenHead {
  /** Why it is left out. */
  never: string | null
  /** Its beginning, of a native one. */
  native: Buffer | null
}

export const MAX_ENTRIES = 100_000
/** Bytes of a file's beginning in which a private key is looked for: a chain of certificates may come before it. */
const HEAD_BYTES = 16_384
/** Of a path, in bytes, and of a name in it. */
export const MAX_PATH_BYTES = 2048
const MAX_NAME_BYTES = 255
const EXECUTABLE = 0o111
const IGNORED = 'an ignore file names it'

/**
 * Finds what belongs into the bundle of a folder: all that `.seaportignore`, else `.gitignore`, leaves, and never
 * what may be secret or leads out. What a bundle contains does not depend on times, owners or the order on the disk.
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
    // One from which everything was left out is not made either, unless it was empty before.
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
    // To wait for each of ten thousand files takes ten times as long as to ask at once.
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

/** By code units, as every machine does, whatever its language. */
function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0
}
