import { type FSWatcher, watch } from 'node:fs'
import { join, posix } from 'node:path'
import { SeaportError } from '../core/errors.js'
import { type BundleEntry, contentsOf, type SeenHead } from './bundle/contents.js'

/** How long nothing may change until a change is told, in ms: editors and compilers write many files at once. */
const QUIET_MS = 300

/** Tells when what a folder gives to a bundle has changed. Files that are left out of bundles do not count. */
export class FolderWatch {
  readonly #root: string
  readonly #quiet: number
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #heads = new Map<string, { mark: string; head: SeenHead }>()
  #known: Promise<string> | null = null
  /** Called at the next event. */
  #wake: () => void = () => {}
  #changedAt = -Infinity
  #isClosed = false

  constructor(root: string, { quiet = QUIET_MS }: { quiet?: number } = {}) {
    this.#root = root
    this.#quiet = quiet
  }

  /** Takes the folder as it is now for known. Never rejects: `changed` says what is wrong. */
  async mark() {
    this.#known = this.#stamp()
    await this.#known.catch(() => {})
  }

  /**
   * Resolves when the folder differs from what is known, and nothing has changed for a moment.
   *
   * @returns false if the watch was closed
   * @throws BAD_BUNDLE, STORAGE_FAILED
   */
  async changed(): Promise<boolean> {
    while (!this.#isClosed) {
      const event = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await this.#follow()
      const stamp = await this.#stamp()
      if (this.#isClosed) break
      const isKnown = stamp === (await this.#known)
      if (!isKnown && this.#stillFor >= this.#quiet) return true
      if (isKnown) await event
      await this.#settle()
    }
    return false
  }

  close() {
    this.#isClosed = true
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
    this.#wake()
  }

  get #stillFor(): number {
    return performance.now() - this.#changedAt
  }

  async #settle() {
    while (!this.#isClosed && this.#stillFor < this.#quiet) {
      await new Promise((resolve) => setTimeout(resolve, this.#quiet - this.#stillFor))
    }
  }

  /** Watches the folders that a bundle has files of, and no others, as those of installed packages are many. */
  async #follow() {
    const folders = new Set([''])
    for (const { path, kind } of await this.#entries()) {
      let folder = kind === 'folder' ? path : posix.dirname(path)
      for (; folder !== '.' && !folders.has(folder); folder = posix.dirname(folder)) {
        folders.add(folder)
      }
    }
    if (this.#isClosed) return
    for (const [folder, watcher] of this.#watchers) if (!folders.has(folder)) watcher.close()
    for (const folder of folders) if (!this.#watchers.has(folder)) this.#open(folder)
  }

  /** @throws STORAGE_FAILED */
  #open(folder: string) {
    try {
      const watcher = watch(join(this.#root, folder), () => {
        this.#changedAt = performance.now()
        this.#wake()
      })
      this.#watchers.set(folder, watcher)
      watcher.on('close', () => this.#watchers.delete(folder))
      // A folder that was deleted is looked for again.
      watcher.on('error', () => watcher.close())
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      const { message } = error as Error
      throw SeaportError.STORAGE_FAILED(`${folder || this.#root} is not watched: ${message}`, error)
    }
  }

  async #stamp(): Promise<string> {
    const entries = await this.#entries()
    return entries
      .map(({ path, kind, target, mark }) => `${path} ${kind} ${target} ${mark}`)
      .join('\n')
  }

  async #entries(): Promise<BundleEntry[]> {
    const seen = {
      headOf: ({ path, mark }: BundleEntry) => {
        const known = this.#heads.get(path)
        return known?.mark === mark ? known.head : undefined
      }
    }
    const look = () =>
      contentsOf(this.#root, seen, ({ path, mark }, head) => this.#heads.set(path, { mark, head }))
    try {
      return (await look()).entries
    } catch (error) {
      if (this.#isClosed) return []
      // A file of an editor may vanish while we look.
      await new Promise((resolve) => setTimeout(resolve, this.#quiet))
      const { entries } = await look().catch(() => Promise.reject(error))
      return entries
    }
  }
}
