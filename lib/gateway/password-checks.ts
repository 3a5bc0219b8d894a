import { SeaportError } from '../core/errors.js'

/** A check of a password that waits for its turn. */
interface Waiting {
  start: () => void
  refuse: () => void
}

/** How many checks run at a time. Each takes one of the few threads that Node also reads files with. */
const MAX_RUNNING = 2
/** How many checks may wait, from one client address and in all. */
const MAX_WAITING_OF_CLIENT = 16
const MAX_WAITING = 256
/** How many checks of one name from one client address may run or wait. */
const MAX_OF_PAIR = 2
/**
 * How many wrong passwords a pair of name and client address may give before it has to wait, and how long it waits
 * then.
 */
const FREE_FAILURES = 5
const BACKOFFS_MS = [1000, 2000, 4000, 8000, 16_000, 30_000]
/**
 * How many pairs with wrong passwords are remembered. The least recently used is forgotten first. Each costs a check,
 * so nobody can have them forgotten quickly.
 */
const MAX_PAIRS = 4096

/** What wrong passwords one name had from one client address. */
interface Failures {
  count: number
  /** Until when the pair has to wait, by the process's monotonic clock, in ms. */
  waitsUntil: number
}

/**
 * Schedules checks of passwords. Hashing a password is slow on purpose, so many guesses at once would keep everybody
 * else waiting. Therefore few checks run at a time. Client addresses take turns, and of one address the last check to
 * come runs first, so that a flood delays mostly itself. A name from an address that guessed wrong has to wait longer
 * and longer; the same name from another address does not, so that nobody can lock others out.
 */
export class PasswordChecks {
  readonly #now: () => number
  readonly #failures = new Map<string, Failures>()
  /** How many checks of a pair run or wait. */
  readonly #underWay = new Map<string, number>()
  /** Waiting checks by client address, in the order of their turns. Of each address the last one runs first. */
  readonly #waiting = new Map<string, Waiting[]>()
  #size = 0
  #running = 0

  constructor({ now = () => performance.now() }: { now?: () => number } = {}) {
    this.#now = now
  }

  /**
   * Checks a password when it is its turn.
   *
   * @param check resolves with whether the password is right
   * @throws TOO_MANY_GUESSES; nothing was checked then
   */
  async run(name: string, client: string, check: () => Promise<boolean>): Promise<boolean> {
    const pair = `${client} ${name}`
    const wait = (this.#failuresOf(pair)?.waitsUntil ?? 0) - this.#now()
    if (wait > 0) throw tooMany(wait)
    const underWay = this.#underWay.get(pair) ?? 0
    if (underWay >= MAX_OF_PAIR) throw tooMany(BACKOFFS_MS[0] as number)
    this.#underWay.set(pair, underWay + 1)
    try {
      await this.#turn(client)
      try {
        const isRight = await check()
        this.#judge(pair, isRight)
        return isRight
      } finally {
        this.#running--
        this.#startNext()
      }
    } finally {
      this.#leave(pair)
    }
  }

  #leave(pair: string) {
    const left = (this.#underWay.get(pair) ?? 0) - 1
    if (left > 0) this.#underWay.set(pair, left)
    else this.#underWay.delete(pair)
  }

  #judge(pair: string, isRight: boolean) {
    const count = (this.#failures.get(pair)?.count ?? 0) + 1
    this.#failures.delete(pair)
    if (isRight) return
    const over = count - FREE_FAILURES
    const backoff = over < 0 ? 0 : (BACKOFFS_MS[Math.min(over, BACKOFFS_MS.length - 1)] as number)
    this.#failures.set(pair, { count, waitsUntil: this.#now() + backoff })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MAX_PAIRS && oldest !== undefined) this.#failures.delete(oldest)
  }

  /** Who asks again is remembered for longer. */
  #failuresOf(pair: string): Failures | undefined {
    const failures = this.#failures.get(pair)
    if (!failures) return undefined
    this.#failures.delete(pair)
    this.#failures.set(pair, failures)
    return failures
  }

  /** Resolves when a check may run. */
  #turn(client: string): Promise<void> {
    if (this.#running < MAX_RUNNING) {
      this.#running++
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(client) ?? []
      this.#waiting.set(client, waiting)
      waiting.push({ start: resolve, refuse: () => reject(tooMany(BACKOFFS_MS[0] as number)) })
      this.#size++
      if (waiting.length > MAX_WAITING_OF_CLIENT) this.#refuseOldest(waiting)
      else if (this.#size > MAX_WAITING) this.#refuseOldest(this.#longest())
    })
  }

  #longest(): Waiting[] {
    return [...this.#waiting.values()].reduce((a, b) => (b.length > a.length ? b : a))
  }

  #refuseOldest(waiting: Waiting[]) {
    waiting.shift()?.refuse()
    this.#size--
  }

  #startNext() {
    for (const [client, waiting] of this.#waiting) {
      const next = waiting.pop()
      this.#waiting.delete(client)
      if (next === undefined) continue
      // If more checks of this address wait, the address goes to the end of the line.
      if (waiting.length > 0) this.#waiting.set(client, waiting)
      this.#size--
      this.#running++
      return next.start()
    }
  }
}

/** @param wait in ms */
function tooMany(wait: number): SeaportError {
  return SeaportError.TOO_MANY_GUESSES(
    `too many wrong passwords for this name came from this address: try again in ${Math.ceil(wait / 1000)} s`
  )
}
