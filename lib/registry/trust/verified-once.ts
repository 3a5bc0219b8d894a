import { crypto } from '../../core/holepunch.js'

/** So many are remembered; the oldest are forgotten first. */
const MAX_VERIFIED = 4096

/**
 * Remembers what was verified, by a hash of all of it, signature included. What does not hold is not remembered: whoever
 * sends it is not heard again.
 */
export class VerifiedOnce {
  readonly #known = new Set<string>()

  /** Whether a text holds: as it did before, or as it is verified now. */
  holds(text: string, verify: () => boolean): boolean {
    const hash = crypto.hash(Buffer.from(text)).toString('latin1')
    if (this.#known.has(hash)) return true
    if (!verify()) return false
    this.#known.add(hash)
    if (this.#known.size > MAX_VERIFIED) {
      for (const oldest of this.#known) {
        this.#known.delete(oldest)
        break
      }
    }
    return true
  }
}
