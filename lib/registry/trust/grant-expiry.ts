import type { Grants } from './grants.js'

const CHECK_MS = 1000

/** Checks whether grants have expired, for as long as there are any: a public registry has none, and is not woken for them. */
export class GrantExpiry {
  readonly #grants: Grants
  #timer: NodeJS.Timeout | null = null
  #stopWatching = () => {}

  constructor(grants: Grants) {
    this.#grants = grants
  }

  start() {
    this.#stopWatching = this.#grants.watch(() => this.#check())
    this.#check()
  }

  stop() {
    this.#stopWatching()
    if (this.#timer) clearInterval(this.#timer)
  }

  #check() {
    if (this.#timer || this.#grants.isEmpty) return
    this.#timer = setInterval(() => this.#grants.expire(), CHECK_MS)
  }
}
