import type { Log } from '../log/log.js'
import type { Peer } from '../swarm/peer.js'
import type { CheckedLogNotice } from './log-notice.js'

export interface OwnLogCopiesOptions {
  /** Our own log; it may begin another. */
  log: () => Log | null
  /** A peer proved that the log went on elsewhere. */
  onrewound: () => void
}

/** What one peer showed. */
interface Shown {
  /** Blocks that it has. */
  length: number
  isProven: boolean
  /** Its proofs are looked at one after the other: one peer has one turn. */
  checked: Promise<void>
}

/**
 * What peers prove to have of our own log. If it is not in our own tree, the log went on elsewhere: our folder was put
 * back to an older state, whether or not we have written more since.
 */
export class OwnLogCopies {
  /** How many blocks were proven to be written. */
  longest = 0
  readonly #options: OwnLogCopiesOptions
  readonly #shown = new WeakMap<Peer, Shown>()

  constructor(options: OwnLogCopiesOptions) {
    this.#options = options
  }

  take(peer: Peer, notice: Pick<CheckedLogNotice, 'length' | 'head' | 'snapshot'>) {
    const { length, head, snapshot } = notice
    const shown = this.#of(peer)
    if (!head && !snapshot) return
    shown.length = Math.max(shown.length, length)
    shown.isProven = true
    this.longest = Math.max(this.longest, head?.length ?? 0, snapshot?.length ?? 0)
    shown.checked = shown.checked.then(() => this.#check(notice))
  }

  /** How many blocks a peer has, and whether it proved any, once all that it showed is looked at. */
  async of(peer: Peer): Promise<[length: number, isProven: boolean]> {
    const shown = this.#of(peer)
    await shown.checked
    return [shown.length, shown.isProven]
  }

  #of(peer: Peer): Shown {
    const known = this.#shown.get(peer)
    if (known) return known
    const shown = { length: 0, isProven: false, checked: Promise.resolve() }
    this.#shown.set(peer, shown)
    return shown
  }

  async #check({ head, snapshot }: Pick<CheckedLogNotice, 'head' | 'snapshot'>) {
    const log = this.#options.log()
    if (!log) return
    const isLonger =
      snapshot !== null && snapshot.logKey === log.key && snapshot.length > log.length
    const isOther = head !== null && (await log.lacks(head))
    if ((isLonger || isOther) && log === this.#options.log()) this.#options.onrewound()
  }
}
