import type { Body } from './body.js'
import { CONVERSATION } from './conversation.js'
import type { Conversations } from './conversations.js'
import { eventBody } from './events.js'
import { checkOwnName } from './names.js'

/** The part of conversations that emitting needs. */
type Emitting = Pick<Conversations, 'open'>

export interface EmitterOptions {
  conversations: Emitting
  instances: () => readonly { servicePublicKey: string; speaks?: readonly string[] }[]
}

/** How much may wait for a conversation with one instance, in bytes. What is emitted beyond is lost for it. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024
/** The least that an event takes beside its body. */
const OVERHEAD_BYTES = 256

/** Emits events to all instances of a role. */
export class Emitter {
  readonly #options: EmitterOptions
  /** Bytes that wait until there is a conversation, by the key of the instance. */
  readonly #waiting = new Map<string, number>()

  constructor(options: EmitterOptions) {
    this.#options = options
  }

  /** @throws USAGE, BAD_OUTPUT, TOO_LARGE */
  emit(type: string, data: unknown) {
    const name = checkOwnName(type, 'an event')
    const body = eventBody(type, data)
    const { conversations, instances } = this.#options
    for (const { servicePublicKey, speaks } of instances()) {
      if (!speaks?.includes(CONVERSATION)) continue
      void this.#emitTo(conversations, servicePublicKey, name, body)
    }
  }

  /** Never rejects. An event is delivered at most once, so an instance that cannot be reached does not get it. */
  async #emitTo(conversations: Emitting, key: string, name: string, body: Body) {
    const size = body.bytes.byteLength + OVERHEAD_BYTES
    const waiting = this.#waiting.get(key) ?? 0
    if (waiting + size > MAX_WAITING_BYTES) return
    this.#waiting.set(key, waiting + size)
    try {
      const caller = await conversations.open(Buffer.from(key, 'hex'), {})
      caller.emit(name, body)
    } catch {}
    const left = (this.#waiting.get(key) ?? 0) - size
    if (left > 0) this.#waiting.set(key, left)
    else this.#waiting.delete(key)
  }
}
