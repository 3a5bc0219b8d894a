import { ChannelError } from './channel-error.js'
import { encodeFrame, type WireHead } from './wire.js'

interface Said {
  head: WireHead
  data: unknown
  resolve: (answer: never) => void
  reject: (error: Error) => void
  isSent: boolean
  /** How often a gateway has closed the connection because of something that was said, perhaps this. */
  faults: number
}

const MAX_WAITING = 1000
const MAX_FAULTS = 2
/** After a time away, so many go at once every so often, in ms: a gateway takes 200, and 100 a second. */
const MAX_AT_ONCE = 50
const PAUSE_MS = 500

/**
 * What was said and is not answered yet. Each message has a number, so that an instance handles it once however often
 * it is repeated.
 */
export class Outbox {
  readonly #write: (frame: string | Uint8Array) => void
  readonly #said = new Map<number, Said>()
  /** What waited while there was no connection, and is to be sent. What is said meanwhile goes after it. */
  #backlog: Said[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #last = 0
  #ended: Error | null = null

  constructor(write: (frame: string | Uint8Array) => void) {
    this.#write = write
  }

  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  add(head: WireHead, data: unknown, isConnected: boolean): Promise<any> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (this.#said.size >= MAX_WAITING) {
      const text = `${MAX_WAITING} messages wait already`
      return Promise.reject(new ChannelError('QUEUE_FULL', text))
    }
    return new Promise((resolve, reject) => {
      const n = ++this.#last
      const said = { head: { ...head, n }, data, resolve, reject, isSent: false, faults: 0 }
      this.#said.set(n, said)
      if (isConnected && this.#backlog.length === 0) this.#send(said)
      else if (isConnected) this.#backlog.push(said)
    })
  }

  settle(n: number, error: Error | null, answer?: unknown) {
    const said = this.#said.get(n)
    if (!said) return
    this.#said.delete(n)
    if (error) said.reject(error)
    else said.resolve(answer as never)
  }

  /** Sends again all that is not answered. */
  flush() {
    this.#backlog = [...this.#said.values()]
    this.#sendSome()
  }

  #sendSome() {
    clearTimeout(this.#timer)
    for (const said of this.#backlog.splice(0, MAX_AT_ONCE)) this.#send(said)
    if (this.#backlog.length > 0) this.#timer = setTimeout(() => this.#sendSome(), PAUSE_MS)
  }

  #forgetBacklog() {
    clearTimeout(this.#timer)
    this.#backlog = []
  }

  /**
   * Fails the commands that were sent: an instance does not remember their numbers, so nobody can tell whether one was
   * executed. A message waits to be sent again, unless the gateway has cut us twice since it was sent.
   *
   * @param isFault the gateway did not understand something that was said
   */
  onlost(isFault: boolean) {
    this.#forgetBacklog()
    for (const [n, said] of [...this.#said]) {
      if (!said.isSent) continue
      if (isFault) said.faults++
      if (said.head.t === 'call') this.#fail(n, 'LINK_LOST', 'the connection was lost')
      else if (said.faults >= MAX_FAULTS) {
        this.#fail(
          n,
          'BAD_MESSAGE',
          'the gateway does not understand this, or what was said with it'
        )
      }
    }
  }

  #fail(n: number, code: string, text: string) {
    this.settle(n, new ChannelError(code, `${text}; it may be executed`))
  }

  end(error: Error) {
    this.#ended = error
    this.#forgetBacklog()
    for (const n of [...this.#said.keys()]) this.settle(n, error)
  }

  #send(said: Said) {
    const [first = 1] = this.#said.keys()
    said.isSent = true
    try {
      this.#write(encodeFrame({ ...said.head, answered: first - 1 }, said.data))
    } catch (error) {
      this.settle(Number(said.head.n), error as Error)
    }
  }
}
