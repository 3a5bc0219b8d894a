import { JsonText } from '../body.js'
import { STATE } from '../names.js'
import type { Sender } from '../sender.js'
import type { StateCopy } from './copy.js'
import { compareHeads, type Head, snapshotToJson } from './statements.js'

/** An instance that may look for the state of the one before it. */
export interface Joining {
  servicePublicKey: string
  joining?: boolean
}

/** Copies that a newcomer is offered, the latest first. */
const MAX_OFFERED = 16
const TIMEOUT_MS = 2000

/** Offers newcomers the copies of a watcher: of instances that died, it may have the last there is. */
export class Offering {
  readonly #sender: Pick<Sender, 'send'>
  /** Newcomers that were offered what we have. */
  readonly #offered = new Set<string>()

  constructor(sender: Pick<Sender, 'send'>) {
    this.#sender = sender
  }

  /** To be called whenever there may be a newcomer. */
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

  /** Never rejects: a newcomer that does not hear us does without. */
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
