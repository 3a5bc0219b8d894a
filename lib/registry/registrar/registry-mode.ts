import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { checkMode, counts, type Mode, signMode } from '../trust/mode.js'

export interface RegistryModeOptions {
  /** The registry's own key pair. */
  keyPair: KeyPair
  /** What its user said: private, open, or nothing. */
  told?: boolean | undefined
  /** How long after a start the user's word goes before what others remember, in ms. */
  insistence?: number
}

const INSISTENCE_MS = 10_000
/** Two registrars whose users said the contrary just now do not go on for ever. */
const MAX_OBJECTIONS = 3

/**
 * What a registrar says of the registry: whether only keys with a grant are admitted. That is what its user said, else
 * what it remembers, else what others of the registry say. If its user said the contrary of what is known, the next
 * statement is issued, so that it is not outvoted by what others remember.
 */
export class RegistryMode {
  readonly #keyPair: KeyPair
  readonly #told: boolean | undefined
  readonly #until: number
  #current: Mode | null = null
  #objections = 0

  constructor({ keyPair, told, insistence = INSISTENCE_MS }: RegistryModeOptions) {
    this.#keyPair = keyPair
    this.#told = told
    this.#until = performance.now() + insistence
  }

  /** Null as long as it is not known. */
  get current(): Mode | null {
    return this.#current
  }

  /**
   * Takes what the folder remembers, which may be anything; null if that is nothing.
   *
   * @returns whether something else counts from now on
   * @throws PRIVATE_REGISTRY if the registry was private and nobody says whether it stays so
   */
  recall(kept: unknown): boolean {
    const known = kept === null ? null : checkMode(kept, this.#keyPair.publicKey)
    if (known?.private && this.#told === undefined) {
      throw SeaportError.PRIVATE_REGISTRY(
        'this registry is private, as its folder knows: start it with --private to keep it so, or with --private=false to open it to all who know its public key'
      )
    }
    this.#current = known
    if (this.#told !== undefined) this.#say(this.#told)
    return this.#current !== known
  }

  /**
   * Takes what others say.
   *
   * @returns whether something else counts from now on
   */
  hear(mode: Mode): boolean {
    if (!counts(mode, this.#current)) return false
    this.#current = mode
    if (this.#told !== undefined && this.#mayObject()) this.#say(this.#told)
    return true
  }

  /** Nobody was found who knows: a registry is open unless somebody says that it is not. */
  settle() {
    if (!this.#current) this.#say(false)
  }

  #mayObject(): boolean {
    return performance.now() < this.#until && this.#objections++ < MAX_OBJECTIONS
  }

  #say(isPrivate: boolean) {
    if (this.#current?.private === isPrivate) return
    const count = (this.#current?.count ?? 0) + 1
    this.#current = signMode(this.#keyPair, { count, private: isPrivate })
  }
}
