import { printTalk } from './output.js'

/** The same words again within this time tell nobody anything new. */
const REPEAT_AFTER_MS = 10_000
const SILENCE_MS = 1000
const REMINDER_MS = 30_000
const MAX_REMEMBERED = 1000
const MAX_LINES_PER_SECOND = 20

const lastSaid = new Map<string, number>()

/** Tells the person at the terminal, on stderr: stdout is for what was asked for. */
export function say(text: string): void {
  const now = performance.now()
  if (now - (lastSaid.get(text) ?? -Infinity) < REPEAT_AFTER_MS) return
  if (lastSaid.size >= MAX_REMEMBERED) lastSaid.clear()
  lastSaid.set(text, now)
  printTalk(text)
}

/** Nobody but an init waits for processes that their parents have left. */
export function sayIfFirst(whoLeaves: string) {
  if (process.pid !== 1) return
  say(`as PID 1 this cannot end what ${whoLeaves} behind: use an init, as docker run --init`)
}

/** Says what happens to one thing after the other, and of a crowd how many more there were in that second. */
export class Reporter {
  readonly #what: string
  #count = 0

  constructor(what: string) {
    this.#what = what
  }

  say(name: string) {
    if (this.#count++ === 0) setTimeout(() => this.#endSecond(), 1000).unref()
    if (this.#count <= MAX_LINES_PER_SECOND) say(`${this.#what} ${name}`)
  }

  #endSecond() {
    const untold = this.#count - MAX_LINES_PER_SECOND
    this.#count = 0
    if (untold > 0) printTalk(`${this.#what} ${untold} more`)
  }
}

/**
 * Waits for a promise, and says for what after a second; then again when that is something else, and
 * every 30 seconds.
 */
export async function waitAloud<T>(promise: Promise<T>, waiting: () => string): Promise<T> {
  let said = ''
  let saidAt = 0
  const remind = () => {
    const text = waiting()
    if (text === said && performance.now() - saidAt < REMINDER_MS) return
    said = text
    saidAt = performance.now()
    say(text)
  }
  const timer = setInterval(remind, SILENCE_MS)
  try {
    return await promise
  } finally {
    clearInterval(timer)
  }
}
