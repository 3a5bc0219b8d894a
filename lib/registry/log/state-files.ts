import { createHash } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import { defaultDir, makeFolder } from './data-folder.js'
import { FileLock } from './file-lock.js'

/** A file that no other process uses for as long as it is held. */
export interface HeldFile {
  /** Of the instance whose it is, in hex. */
  key: string
  path: string
  /** Lets another process have it. */
  release(): void
}

const FOLDER = 'state'
const FOLDER_NAME_LENGTH = 32
const FILE = /^([0-9a-f]{64})\.journal$/

/** The files in which the instances of a role keep their state, each by its service key. */
export class StateFiles {
  readonly #folder: string
  readonly #key: string
  /** Why there is no folder; null if there may be one. Only who writes something needs it. */
  readonly #lack: SeaportError | null = null

  constructor(registry: Buffer, role: string, key: Buffer, dir?: string) {
    const name = createHash('sha256').update(role).digest('hex').slice(0, FOLDER_NAME_LENGTH)
    let home = ''
    try {
      home = dir ?? defaultDir(registry, 'service')
    } catch (error) {
      this.#lack = error as SeaportError
    }
    this.#folder = join(home, FOLDER, name)
    this.#key = toHex(key)
  }

  /** The folder in which this instance keeps messages for browsers that are away; '' if this user has none for data. */
  get keptFolder(): string {
    return this.#lack ? '' : join(this.#folder, `${this.#key}.kept`)
  }

  /** Whether this instance has one. */
  exists(): boolean {
    return this.pathOf(this.#key) !== null
  }

  /**
   * Takes this instance's own; it is made by whoever writes it.
   *
   * @throws STORAGE_LOCKED, STORAGE_FAILED
   */
  async take(): Promise<HeldFile> {
    if (this.#lack) throw this.#lack
    try {
      await makeFolder(this.#folder)
      const file = this.#tryTake(this.#key)
      if (file) return file
    } catch (cause) {
      const { message } = cause as Error
      throw SeaportError.STORAGE_FAILED(
        `no state can be kept in ${this.#folder} (${message}), choose another folder with --dir`,
        cause
      )
    }
    throw SeaportError.STORAGE_LOCKED(
      `another process keeps the state of this instance in ${this.#folder}; give this one another key, or another --dir`
    )
  }

  /** Those of other instances, which no running process holds. Whoever reads one releases it. */
  *others(): Iterable<HeldFile> {
    for (const key of this.#keys()) {
      const file = this.#tryTake(key)
      if (file) yield file
    }
  }

  /** That of another instance, if there is one that no running process holds. */
  other(key: string): HeldFile | null {
    return this.pathOf(key) === null ? null : this.#tryTake(key)
  }

  /** Where that of an instance is, whoever holds it; null if there is none. */
  pathOf(key: string): string | null {
    const path = this.#pathOf(key)
    return !this.#lack && existsSync(path) ? path : null
  }

  /** Other instances that have one, which a running process holds: keys in hex. */
  held(): string[] {
    return this.#keys().filter((key) => {
      const file = this.#tryTake(key)
      file?.release()
      return file === null
    })
  }

  /** Of other instances. */
  #keys(): string[] {
    const names = !this.#lack && existsSync(this.#folder) ? readdirSync(this.#folder) : []
    return names.flatMap((name) => {
      const [, key = ''] = FILE.exec(name) ?? []
      return key && key !== this.#key ? [key] : []
    })
  }

  #tryTake(key: string): HeldFile | null {
    const path = this.#pathOf(key)
    const lock = FileLock.tryTake(`${path}.lock`)
    return lock && { key, path, release: () => lock.release() }
  }

  #pathOf(key: string): string {
    return join(this.#folder, `${key}.journal`)
  }
}
