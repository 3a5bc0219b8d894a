import { connect } from 'node:net'

/** One connection, from `connect()` on. Times are in ms, of `performance.now()`. */
export interface Call {
  beganAt: number
  /** Until the answer came; null if none did. */
  waited: number | null
  /** One byte, by which a backend says who it is. */
  answer: string | null
  isCut: boolean
}

/** How long a connection is kept after its answer, in ms. */
const HOLD_MS = 10
const TICK_MS = 5

/**
 * Calls at a local port so many times a second, whatever becomes of the calls before: a new connection
 * each, on which one byte goes there and one comes back, and which ends 10 ms later.
 */
export class Callers {
  readonly calls: Call[] = []
  readonly #port: number
  readonly #open = new Set<Promise<void>>()
  readonly #timer: NodeJS.Timeout

  /** @param rate calls per second */
  constructor(port: number, rate: number) {
    this.#port = port
    const startedAt = performance.now()
    this.#timer = setInterval(() => {
      const due = ((performance.now() - startedAt) / 1000) * rate
      while (this.calls.length < due) this.#begin()
    }, TICK_MS)
  }

  /** Calls no more. Resolves when all calls are over. */
  async stop(): Promise<Call[]> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
    return this.calls
  }

  #begin() {
    const call: Call = { beganAt: performance.now(), waited: null, answer: null, isCut: false }
    this.calls.push(call)
    const over = ring(this.#port, call).then(() => {
      this.#open.delete(over)
    })
    this.#open.add(over)
  }
}

/** Never rejects: what becomes of it stands in the call. */
function ring(port: number, call: Call): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.on('connect', () => socket.write('?'))
    socket.on('data', (data) => {
      call.waited ??= performance.now() - call.beganAt
      call.answer = String(data)
      setTimeout(() => socket.end(), HOLD_MS)
    })
    socket.on('error', () => {
      call.isCut = true
    })
    socket.on('close', () => {
      // An end without an answer is no answer.
      if (call.answer === null) call.isCut = true
      resolve()
    })
  })
}
