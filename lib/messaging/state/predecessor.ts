import type { SeaportError } from '../../core/errors.js'
import type { State } from './state.js'
import { TakeOver, type TakeOverOptions } from './take-over.js'

export interface PredecessorOptions extends TakeOverOptions {
  state: State
  /** Whether an instance can be told, by its key in hex. */
  isThere: (key: string) => boolean
  /** Calls the listener whenever that may have changed. Returns a function that stops it. */
  watch: (listener: () => void) => () => void
  onnotice: (notice: SeaportError) => void
  /** After what time an instance that gave no answer is told again, in ms. */
  retry?: number | undefined
}

const RETRY_MS = 1000

/**
 * Tells the instance whose state this one has taken over that it has, whenever that instance is there. It cannot know
 * if it was frozen, cut off or started again from its folder.
 */
export class Predecessor {
  readonly #options: PredecessorOptions
  readonly #stop: () => void
  #timer: NodeJS.Timeout | null = null
  /** The key of the instance that was told since it last came, in hex. */
  #told: string | null = null
  #isTelling = false
  #isClosed = false

  constructor(options: PredecessorOptions) {
    this.#options = options
    this.#stop = options.watch(() => this.#check())
    this.#check()
  }

  close() {
    this.#isClosed = true
    this.#stop()
    if (this.#timer) clearTimeout(this.#timer)
  }

  #check() {
    const { state, isThere } = this.#options
    const former = state.succession?.former.owner
    if (former === undefined || !isThere(former)) {
      this.#told = null
      return
    }
    if (this.#told !== former && !this.#isTelling && !this.#timer) void this.#tell(former)
  }

  /** Never rejects. */
  async #tell(former: string) {
    const { state, onnotice, retry = RETRY_MS } = this.#options
    this.#isTelling = true
    const { head, succession } = state
    try {
      const hasHeard =
        head === null ||
        succession === null ||
        (await new TakeOver(former, this.#options).tellSuccession({ head, succession }))
      if (hasHeard) this.#told = former
    } catch (error) {
      this.#told = former
      if (!this.#isClosed) onnotice(error as SeaportError)
    }
    this.#isTelling = false
    if (this.#told === former || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#check()
    }, retry)
    this.#timer.unref()
  }
}
