import type { SeaportError } from '../../core/errors.js'

/** How long is remembered that no way was found to a key, in ms. A relay is a detour: routers change. */
const MEMORY_MS = 10 * 60_000
const MAX_REMEMBERED = 1024
/** HyperDHT found nobody under that key: there is nobody to relay to. */
const NOBODY = new Set(['PEER_NOT_FOUND', 'PEER_CONNECTION_FAILED'])

/** Which keys could not be met, so that the next link to them goes by a relay until a hole is punched. */
export class Detours {
  /** How often a link could not be made. */
  failures = 0
  readonly #now: () => number
  /** When each could not be met last, by key in hex, the latest last. */
  readonly #unmet = new Map<string, number>()

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  isNeeded(key: string): boolean {
    const since = this.#unmet.get(key)
    return since !== undefined && this.#now() - since < MEMORY_MS
  }

  /** A link to a key could not be made. */
  failed(key: string, { code, cause }: SeaportError) {
    if (code !== 'LINK_LOST') return
    if (NOBODY.has((cause as NodeJS.ErrnoException | undefined)?.code ?? '')) return
    this.failures++
    this.#unmet.delete(key)
    this.#unmet.set(key, this.#now())
    const [oldest] = this.#unmet.keys()
    if (this.#unmet.size > MAX_REMEMBERED && oldest !== undefined) this.#unmet.delete(oldest)
  }
}
