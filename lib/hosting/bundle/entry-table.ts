import { SeaportError } from '../../core/errors.js'
import { MAX_ENTRIES, MAX_PATH_BYTES } from './contents.js'
import { staysInside } from './link-target.js'

/** The header of an entry in an archive, as it came. Nothing in it is trusted. */
export interface EntryHeader {
  name: string
  type: string | null
  mode: number
  size: number
  linkname: string | null
}

export type EntryKind = 'file' | 'link' | 'folder'

const KINDS: Record<string, EntryKind> = { file: 'file', symlink: 'link', directory: 'folder' }
const SPECIAL_BITS = 0o7000
const MAX_NAME_BYTES = 255

/**
 * Checks each entry of an archive against the rules and against earlier entries. On no kind of disk may an entry lead
 * out of the folder, and it may only be a file, a folder or a link.
 */
export class EntryTable {
  readonly #maxBytes: number
  /** Entries by their normalized path, because a disk may not distinguish case. */
  readonly #known = new Map<string, { path: string; kind: EntryKind }>()
  #entries = 0
  #bytes = 0

  /** @param maxBytes the largest size of all files together */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Takes an entry.
   *
   * @returns its path without a slash at the end, and its kind
   * @throws BAD_BUNDLE
   */
  add(header: EntryHeader): { path: string; kind: EntryKind } {
    if (++this.#entries > MAX_ENTRIES) throw bad(`the bundle has more than ${MAX_ENTRIES} entries`)
    const kind = KINDS[header.type ?? '']
    const path = header.name.replace(/\/$/, '')
    if (!kind) throw bad(`${path} is a ${header.type ?? 'thing of an unknown kind'}`)
    checkPath(path)
    if ((header.mode & SPECIAL_BITS) !== 0) throw bad(`${path} would run as somebody else`)
    if (kind !== 'file' && header.size > 0) throw bad(`${path} has a content`)
    if (kind === 'link' && !staysInside(path, header.linkname ?? '')) {
      throw bad(`${path} is a link that leads out`)
    }
    this.#bytes += header.size
    if (!(this.#bytes <= this.#maxBytes))
      throw bad(`its files have more than ${this.#maxBytes} bytes`)
    this.#takeFolders(path)
    this.#take(path, kind)
    return { path, kind }
  }

  /** Checks that every parent of an entry is a folder, and not a link that leads elsewhere. */
  #takeFolders(path: string) {
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
      const folder = path.slice(0, end)
      const known = this.#known.get(nameOf(folder))
      if (known?.kind === 'folder' && known.path === folder) continue
      this.#take(folder, 'folder')
    }
  }

  #take(path: string, kind: EntryKind) {
    const name = nameOf(path)
    const known = this.#known.get(name)
    if (known && (known.path !== path || known.kind !== 'folder' || kind !== 'folder')) {
      throw bad(
        known.path === path
          ? `${path} is there twice`
          : `${known.path} and ${path} differ in nothing but case`
      )
    }
    this.#known.set(name, { path, kind })
  }
}

function checkPath(path: string) {
  const names = path.split('/')
  const isPlain = names.every((name) => name !== '' && name !== '.' && name !== '..')
  if (!isPlain) throw bad(`${path || 'an entry without a name'} does not stay in its folder`)
  const isShort =
    Buffer.byteLength(path) <= MAX_PATH_BYTES &&
    names.every((name) => Buffer.byteLength(name) <= MAX_NAME_BYTES)
  if (!isShort) throw bad('a path is too long')
  if (/[\0\ufffd]/.test(path)) throw bad(`${path} is no name of a file`)
}

/** A path as a disk sees it that ignores case and how accents are composed. */
function nameOf(path: string): string {
  return path.normalize('NFC').toLowerCase()
}

function bad(text: string): SeaportError {
  return SeaportError.BAD_BUNDLE(text)
}
