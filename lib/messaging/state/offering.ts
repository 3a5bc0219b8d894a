import { JsonText } from '../body.js'
import { STATE } from '../names.js'
import type { Sender } from '../sender.js'
import type { StateCopy } from './copy.js'
import { compareHeads, type Head, snapshotToJson } from './statements.js'

/** An instance that may look for the state of an earlier one. */
export interface Joining {
  servicePublicKey: string
  joining?: boolean
}

/** How many copies a newcomer is offered at most, the latest first. */
const MAX_OFFERED = 16
const TIMEOUT_MS = 2000

/**
 * Offers a watcher's copies to newcomers. After an instance has died, a watcher may have the only copy of its state.
 */
export class Offering {
  readonly #sender: Pick<Sender, 'send'>
  /** Newcomers that were offered our copies. */
  readonly #offered = new Set<string>()

  constructor(sender: Pick<Sender, 'send'>) {
    this.#sender = sender
  }

  /** Call it whenever there may be a newcomer. */
  offer(instances: readonly Joining[], copies: readonly StateCopy[]) {
    const joining = instances.filter((one) => one.joining)
    const keys = new Set(joining.map(({ servicePublicKey }) => servicePublicKey))
    for (const key of this.#offered) if (!keys.has(key)) this.#offered.delete(key)
    for (const key of keys) {
      if (this.#offered.has(key)) continue
      this.#offered.add(key)
      void this.#offerTo(key, copies)
    }
  }

  /** Offers copies to one newcomer. If it does not answer it goes on without them. Never rejects. */
  async #offerTo(instance: string, copies: readonly StateCopy[]) {
    const options = { instance, idempotent: true, timeout: TIMEOUT_MS }
    const latest = copies
      .filter(({ head, size }) => head !== null && size > 0)
      .sort((a, b) => compareHeads(b.head as Head, a.head as Head))
    for (const copy of latest.slice(0, MAX_OFFERED)) {
      const { head, succession } = copy
      if (!head) continue
      try {
        const answer = await this.#sender.send(STATE, { offer: head }, options)
        if ((answer as { want?: unknown } | null)?.want !== true) continue
        const snapshot = snapshotToJson({ head, succession, entries: [...copy.entries()] })
        await this.#sender.send(STATE, new JsonText(`{"restore":${snapshot}}`), options)
      } catch {
        return
      }
    }
  }
}
