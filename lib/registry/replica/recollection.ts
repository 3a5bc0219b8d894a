import { EventEmitter } from 'node:events'
import type { SeaportError } from '../../core/errors.js'
import type { Memory } from '../log/memory.js'
import type { Storage } from '../log/storage.js'
import { type Certificate, checkCertificate, isCertificate } from '../trust/certificate.js'
import { checkGrantStatement, type GrantStatement } from '../trust/grant.js'
import { checkMode, type Mode } from '../trust/mode.js'

export interface RecollectionOptions {
  storage: Storage
  /** The registry's public key. */
  registry: Buffer
  /** Puts into the memory what is to be remembered. */
  remember: (memory: Memory) => void
}

/** The memory is written this long after it changed; a crash costs a rescan, no more. */
const SAVE_DELAY_MS = 1000

/**
 * What a replica remembers from one run to the next beside the logs. A file can be damaged or written by somebody else, so
 * what it holds is checked as if it came over the wire. Emits `notice` (a SeaportError).
 */
export class Recollection extends EventEmitter<{ notice: [SeaportError] }> {
  readonly #options: RecollectionOptions
  #timer: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(options: RecollectionOptions) {
    super()
    this.#options = options
  }

  /** Those of an earlier build's kind are passed over. */
  certificates(): Certificate[] {
    const { certificates } = this.#options.storage.memory
    return this.#checked(certificates.filter(isCertificate), checkCertificate)
  }

  grants(): GrantStatement[] {
    return this.#checked(this.#options.storage.memory.grants, checkGrantStatement)
  }

  mode(): Mode | null {
    const { mode } = this.#options.storage.memory
    return this.#checked(mode === null ? [] : [mode], checkMode)[0] ?? null
  }

  /** The newest date that the registry's key had signed, ms since 1970. */
  get signedAt(): number {
    return this.#options.storage.memory.signedAt
  }

  /** Writes the memory soon, together with what else changes until then. */
  saveSoon() {
    if (this.#timer || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.save().catch((notice) => this.emit('notice', notice))
    }, SAVE_DELAY_MS)
  }

  async save() {
    const { storage, remember } = this.#options
    remember(storage.memory)
    await storage.save()
  }

  /**
   * Never rejects: if the memory cannot be written, the next run hears from others what it lacks.
   *
   * @param isKept whether there is something to remember
   */
  async close(isKept: boolean) {
    this.#isClosed = true
    if (this.#timer) clearTimeout(this.#timer)
    if (isKept) await this.save().catch((notice) => this.emit('notice', notice))
  }

  #checked<T>(values: readonly unknown[], check: (value: unknown, registry: Buffer) => T): T[] {
    return values.flatMap((value) => {
      try {
        return [check(value, this.#options.registry)]
      } catch (notice) {
        this.emit('notice', notice as SeaportError)
        return []
      }
    })
  }
}
