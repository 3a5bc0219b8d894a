import { SeaportError } from '../../core/errors.js'
import { MAX_ENTRIES, MAX_PATH_BYTES } from './contents.js'
import { staysInside } from './link-target.js'

/** What the header of an entry in an archive says. Nothing of it is believed. */
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
 * What an archive has brought so far, and the rules that each entry has to keep: it may not lead out of its folder, on
 * any kind of disk, nor bring anything but files, folders and links.
 */
export class EntryTable {
  readonly #maxBytes: number
  /** By their path in lower case, as a disk may have it that takes both cases for one. */
  readonly #known = new Map<string, { path: string; kind: EntryKind }>()
  #entries = 0
  #bytes = 0

  /** @param maxBytes of all files */
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

  /** Whatever an entry is in is a folder, and not a link that leads elsewhere. */
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

/** As a disk that takes no notice of case, or of how accents are composed, has it. */
function nameOf(path: string): string {
  return path.normalize('NFC').toLowerCase()
}

function bad(text: string): SeaportError {
  return SeaportError.BAD_BUNDLE(text)
}
