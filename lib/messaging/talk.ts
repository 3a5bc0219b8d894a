import type { SeaportError } from '../core/errors.js'
import { type CommandMap, Commands } from './commands.js'
import type { Denial } from './responder.js'
import type { Listening } from './speaker.js'
import { Speaker } from './speaker.js'

export interface TalkOptions {
  /** What the service can be told to do, by name. `service.commands.handle` adds more. */
  commands?: CommandMap | undefined
  /** The largest body of a command or an answer, in bytes. Default: 16 MiB, and 64 at most. */
  maxBody?: number | undefined
}

export interface TalkParts extends TalkOptions {
  denialOf: Denial
  onnotice: (notice: SeaportError) => void
  /** There is something to talk about. */
  onfirst: () => void
}

/** All that a service can be talked to about. It takes no conversations until there is something. */
export class Talk {
  readonly commands: Commands
  readonly #speaker: Speaker
  #isWanted: boolean
  #isListening = false

  /** @throws USAGE */
  constructor({ commands, maxBody, denialOf, onnotice, onfirst }: TalkParts) {
    this.#isWanted = commands !== undefined
    this.commands = new Commands({
      maxBody,
      onfirst: () => {
        this.#isWanted = true
        onfirst()
      }
    })
    this.#speaker = new Speaker({
      commands: this.commands,
      maxBody,
      denialOf,
      onnotice,
      onemit: () => {}
    })
    for (const [name, how] of Object.entries(commands ?? {})) {
      if (typeof how === 'function') this.commands.handle(name, how)
      else this.commands.handle(name, how, how.handler)
    }
  }

  /** @returns whether it takes conversations from now on, and did not before */
  listen(listening: Listening): boolean {
    if (!this.#isWanted || this.#isListening) return false
    this.#isListening = true
    this.#speaker.listen(listening)
    return true
  }

  /** Tells all who talk with it that no further calls are taken. */
  leave() {
    this.#speaker.leave()
  }

  /** Rights have changed. */
  recheck() {
    this.#speaker.recheck()
  }

  close() {
    this.#speaker.close()
  }
}
