import { Abort, type Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { type Body, copyOf } from './body.js'
import type { Caller, Outgoing } from './caller.js'
import { SINGLE_CALL } from './conversation.js'
import { noInstance, type SendingOptions, WORTH_ANOTHER } from './sending.js'
import { Turn } from './turn.js'

/**
 * How many items may wait for their reader. There are a few, so that the reader need not wait for the network each
 * time.
 */
const MAX_WAITING_ITEMS = 16

/** Items that came and were not read yet. */
class Items {
  readonly #waiting: Body[] = []
  #end: SeaportError | null | undefined
  #onchange: (() => void) | null = null

  get hasRoom(): boolean {
    return this.#waiting.length < MAX_WAITING_ITEMS
  }

  add(body: Body) {
    this.#waiting.push(copyOf(body))
    this.#onchange?.()
  }

  /** @param error null if all items have come */
  end(error: SeaportError | null) {
    this.#end = error
    this.#onchange?.()
  }

  /** @returns null when there are no more */
  async next(): Promise<Body | null> {
    while (this.#waiting.length === 0) {
      if (this.#end) throw this.#end
      if (this.#end === null) return null
      await new Promise<void>((resolve) => {
        this.#onchange = resolve
      })
    }
    return this.#waiting.shift() ?? null
  }
}

/** One command whose answer comes in items, on a stream of its own. */
export class Streaming {
  readonly #outgoing: Outgoing
  readonly #options: Omit<SendingOptions, 'hedgeAfter'>
  readonly #abort = new Abort()
  readonly #tried = new Set<string>()

  constructor(outgoing: Outgoing, options: Omit<SendingOptions, 'hedgeAfter'>) {
    this.#outgoing = outgoing
    this.#options = options
  }

  abort(reason: SeaportError) {
    this.#abort.abort(reason)
  }

  /** @throws the error that it ended with, with `executed` */
  async *run(): AsyncGenerator<Body, void, void> {
    let last: SeaportError | null = null
    for (;;) {
      let hasCome = false
      try {
        for await (const body of this.#attempt()) {
          hasCome = true
          yield body
        }
        return
      } catch (error) {
        const failure = error as SeaportError
        if (last && failure.code === 'NO_INSTANCE') throw last
        last = failure
        if (hasCome || this.#abort.aborted || !this.#mayGoOn(failure)) throw failure
      }
    }
  }

  async *#attempt(): AsyncGenerator<Body, void, void> {
    const items = new Items()
    const turn = await this.#take(this.#abort, () => items.hasRoom)
    const { caller } = turn
    let isAnswered = false
    let id = 0
    const onabort = () => caller.cancel(id, this.#abort.reason as SeaportError)
    this.#abort.addEventListener('abort', onabort)
    try {
      this.#tried.add(turn.stat.servicePublicKey)
      const answered = {
        onitem: (body: Body) => items.add(body),
        onanswer: () => items.end(null),
        onfailure: (error: SeaportError) => items.end(error)
      }
      if (this.#abort.aborted) throw (this.#abort.reason as SeaportError).withExecuted('no')
      id = caller.call(this.#outgoing, answered)
      for (;;) {
        const body = await items.next()
        if (items.hasRoom) caller.resume()
        if (body === null) break
        yield body
      }
      isAnswered = true
      turn.succeeded()
      // Its conversation is for this command alone, and ends with it.
      caller.retire()
    } finally {
      this.#abort.removeEventListener('abort', onabort)
      if (!isAnswered) leave(turn, caller)
    }
  }

  async #take(signal: Signal, hasRoom: () => boolean): Promise<Turn> {
    const { dialer, conversations, instance } = this.#options
    try {
      return await dialer.dial<Turn>({
        purpose: SINGLE_CALL,
        signal,
        avoid: this.#tried,
        only: instance,
        open: async (key, options) => {
          const hex = key.toString('hex')
          if (this.#tried.has(hex)) throw SeaportError.NO_INSTANCE('it was asked before')
          const caller = await conversations.openSingle(key, options, hasRoom)
          return new Turn(caller, dialer.statOf(hex))
        }
      })
    } catch (error) {
      throw noInstance(error)
    }
  }

  #mayGoOn({ code, executed }: SeaportError): boolean {
    if (this.#options.instance !== undefined || !WORTH_ANOTHER.has(code)) return false
    return executed === 'no' || this.#options.isIdempotent
  }
}

function leave(turn: Turn, caller: Caller) {
  turn.abandoned()
  caller.destroy(SeaportError.CANCELLED('whoever read the items has left'))
}
