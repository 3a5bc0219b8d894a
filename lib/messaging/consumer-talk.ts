import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import { MAIL } from '../core/purpose.js'
import type { LinkPool } from '../link/pool.js'
import type { Body } from './body.js'
import type { Outgoing } from './caller.js'
import { Conversations } from './conversations.js'
import { Emitter } from './emitter.js'
import { EntryEvents } from './entry-events.js'
import { Sender, type SenderOptions } from './sender.js'
import type { Lender } from './sending.js'
import { maxFrameFor } from './speaker.js'
import { EntryState } from './state/entry-state.js'
import { MAX_SNAPSHOT_BYTES } from './state/statements.js'

export interface ConsumerTalkOptions {
  registry: Buffer
  pool: LinkPool
  /** Calls the listener whenever instances may have come or gone. */
  watch: (listener: () => void) => () => void
  /** The largest body of a command or an answer, in bytes. */
  maxBody: number | undefined
  onnotice: (notice: SeaportError) => void
  /** Sends commands to a key by letter. */
  call: (to: string, outgoing: Outgoing, signal: AbortSignal) => Promise<Body>
}

interface Audible {
  servicePublicKey: string
  version: string
  speaks?: readonly string[]
}

/** Everything that a consumer needs for commands, events and state. */
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

  /** The parts for the entry of one role. */
  partsFor(role: string, dialer: Lender, instances: () => readonly Audible[]) {
    const { registry, pool, watch, maxBody, onnotice, call } = this.#options
    const conversations = this.#conversations
    const events = new EntryEvents({ pool, instances, watch, onnotice })
    const byLetter: SenderOptions['byLetter'] = async (outgoing, instance, signal) => {
      const takers = instances().filter(({ speaks = [] }) => speaks.includes(MAIL))
      const keys = takers.map(({ servicePublicKey }) => servicePublicKey)
      const to = instance === undefined ? keys[0] : keys.find((key) => key === instance)
      if (to !== undefined) return call(to, outgoing, signal)
      const text = `no link to ${role} can be made, and no instance takes letters`
      throw SeaportError.NO_INSTANCE(text).withExecuted('no')
    }
    const sender = new Sender({ dialer, conversations, byLetter, maxBody })
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
