import { CONVERSATION } from './conversation.js'
import type { Conversations } from './conversations.js'
import { eventBody } from './events.js'
import { checkOwnName } from './names.js'

export interface EmitterOptions {
  conversations: Conversations
  instances: () => readonly { servicePublicKey: string; speaks?: readonly string[] }[]
}

/** Emits events to all instances of a role. */
export class Emitter {
  readonly #options: EmitterOptions

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
      conversations.open(Buffer.from(servicePublicKey, 'hex'), {}).then(
        (caller) => caller.emit(name, body),
        // An event is delivered at most once, so an instance that cannot be reached does not get it.
        () => {}
      )
    }
  }
}
