import type { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import type { LinkPool } from '../link/pool.js'
import { Conversations } from './conversations.js'
import { Emitter } from './emitter.js'
import { EntryEvents } from './entry-events.js'
import { Sender } from './sender.js'
import type { Lender } from './sending.js'
import { maxFrameFor } from './speaker.js'
import { EntryState } from './state/entry-state.js'
import { MAX_SNAPSHOT_BYTES } from './state/statements.js'

export interface ConsumerTalkOptions {
  registry: Buffer
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
  readonly #states: EntryState[] = []

  /** @throws USAGE */
  constructor(options: ConsumerTalkOptions) {
    const { pool, maxBody } = options
    this.#options = options
    const maxFrame = Math.max(maxFrameFor(maxBody), maxFrameFor(MAX_SNAPSHOT_BYTES))
    this.#conversations = new Conversations({ pool, maxFrame })
  }

  /** What the entry of one role talks with. */
  partsFor(role: string, dialer: Lender, instances: () => readonly Audible[]) {
    const { registry, pool, watch, maxBody, onnotice } = this.#options
    const conversations = this.#conversations
    const events = new EntryEvents({ pool, instances, watch, onnotice })
    const sender = new Sender({ dialer, conversations, maxBody })
    const scope = { registry: toHex(registry), role }
    const state = new EntryState({ scope, events, sender, instances, onnotice })
    this.#events.push(events)
    this.#states.push(state)
    return {
      sender,
      state,
      emitter: new Emitter({ conversations, instances }),
      events
    }
  }

  close() {
    for (const state of this.#states) state.close()
    for (const events of this.#events) events.close()
    this.#conversations.close()
  }
}
