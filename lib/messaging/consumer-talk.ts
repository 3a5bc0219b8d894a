import type { SeaportError } from '../core/errors.js'
import type { LinkPool } from '../link/pool.js'
import { Conversations } from './conversations.js'
import { Emitter } from './emitter.js'
import { EntryEvents } from './entry-events.js'
import { Sender } from './sender.js'
import type { Lender } from './sending.js'
import { maxFrameFor } from './speaker.js'

export interface ConsumerTalkOptions {
  pool: LinkPool
  /** Calls back whenever instances may have come or gone. */
  watch: (listener: () => void) => () => void
  /** The largest body of a command or an answer, in bytes. */
  maxBody: number | undefined
  onnotice: (notice: SeaportError) => void
}

interface Audible {
  servicePublicKey: string
  version: string
  speaks?: readonly string[]
}

/** All that a consumer talks with services about. */
export class ConsumerTalk {
  readonly #options: ConsumerTalkOptions
  readonly #conversations: Conversations
  readonly #events: EntryEvents[] = []

  /** @throws USAGE */
  constructor(options: ConsumerTalkOptions) {
    const { pool, maxBody } = options
    this.#options = options
    this.#conversations = new Conversations({ pool, maxFrame: maxFrameFor(maxBody) })
  }

  /** What the entry of one role talks with. */
  partsFor(dialer: Lender, instances: () => readonly Audible[]) {
    const { pool, watch, maxBody, onnotice } = this.#options
    const conversations = this.#conversations
    const events = new EntryEvents({ pool, instances, watch, onnotice })
    this.#events.push(events)
    return {
      sender: new Sender({ dialer, conversations, maxBody }),
      emitter: new Emitter({ conversations, instances }),
      events
    }
  }

  close() {
    for (const events of this.#events) events.close()
    this.#conversations.close()
  }
}
