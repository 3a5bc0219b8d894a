import { EventEmitter } from 'node:events'

/** What has been read of one log. */
export interface Progress {
  /** Blocks that are in the directory. */
  applied: number
  /** Blocks that somebody connected has, by the registrar's own word or a proof: what a mere member says counts for nothing. */
  offered: number
  /** Whether its registrar is connected and answers, or is this process. */
  live: boolean
}

export interface SyncOptions {
  /** Of each known log. */
  progress: () => readonly Progress[]
  /** How long to look for a live registrar, and for what others have, before less will do, in ms. */
  patience?: number | undefined
  /** How long nothing has to come of what others are proven to have, until it is given up, in ms. */
  stall?: number | undefined
}

const PATIENCE_MS = 2000
/** Longer than a follower waits for a block before it turns to others, and shorter than `list` waits. */
const STALL_MS = 4000

/**
 * Whether the directory is as good as it gets: a live registrar is there, and all that anybody was proven to have
 * was read, because a registrar that was just restarted knows less than others. After `patience`, what the live
 * registrars said is enough, or, without one, what the others have. If some of that does not come, because those who
 * showed that it was written are gone or keep it to themselves, what did come is enough after `stall`; nothing at all never
 * is. Once reached, it stays so. Emits `synced`.
 */
export class Sync extends EventEmitter<{ synced: [] }> {
  isDone = false
  readonly done: Promise<void>

  readonly #progress: SyncOptions['progress']
  readonly #patience: number
  readonly #stall: number
  #isImpatient = false
  /** When something came last. */
  #cameAt = 0
  #timer: NodeJS.Timeout | null = null

  constructor({ progress, patience = PATIENCE_MS, stall = STALL_MS }: SyncOptions) {
    super()
    this.#progress = progress
    this.#patience = patience
    this.#stall = stall
    this.done = new Promise((resolve) => this.once('synced', resolve))
  }

  /** Waits for a live registrar from now on. */
  start() {
    this.#timer = setTimeout(() => {
      this.#isImpatient = true
      this.#cameAt = performance.now()
      this.#checkFromNowOn()
    }, this.#patience)
  }

  /** Something of a log came. */
  progressed() {
    this.#cameAt = performance.now()
  }

  /** Decides again. To be called after something was read, said or connected. */
  check() {
    if (this.isDone || !this.#isAsGoodAsItGets) return
    this.isDone = true
    this.emit('synced')
  }

  stop() {
    if (this.#timer) clearTimeout(this.#timer)
  }

  get #isAsGoodAsItGets(): boolean {
    const known = this.#progress()
    const live = known.filter(({ live }) => live)
    if (live.length > 0 && known.every(isRead)) return true
    if (!this.#isImpatient || known.length === 0) return false
    if (live.length > 0) return live.every(isRead)
    return known.every(isRead) || (this.#isStalled && known.some(({ applied }) => applied > 0))
  }

  get #isStalled(): boolean {
    return performance.now() - this.#cameAt >= this.#stall
  }

  /** Decides at once, and each time when nothing may have come for long enough. */
  #checkFromNowOn() {
    this.check()
    if (this.isDone) return
    const rest = this.#cameAt + this.#stall - performance.now()
    this.#timer = setTimeout(() => this.#checkFromNowOn(), rest > 0 ? rest : this.#stall)
  }
}

/** Whether all that anybody offers of a log is in the directory. */
export function isRead({ applied, offered }: Pick<Progress, 'applied' | 'offered'>): boolean {
  return applied >= offered
}
