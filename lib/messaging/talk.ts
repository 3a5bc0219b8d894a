import { SeaportError } from '../core/errors.js'
import { type KeyPair, parseKey, toHex } from '../core/keys.js'
import { TAKEOVER } from '../core/purpose.js'
import type { ServiceRole } from '../core/role.js'
import { JsonText } from './body.js'
import { Clients, type ClientsOptions, type ClientsParts } from './clients/clients.js'
import { type CommandMap, Commands } from './commands.js'
import { CONVERSATION } from './conversation.js'
import type { EventRingOptions } from './event-ring.js'
import { Events } from './events.js'
import type { CallReplies, IncomingCall } from './mail/mail-calls.js'
import { MOVED, SET_STATE, STATE } from './names.js'
import type { Denial } from './responder.js'
import type { Listening } from './speaker.js'
import { Speaker } from './speaker.js'
import { HandOver, type HandOverOptions } from './state/hand-over.js'
import { State, type StateFiles } from './state/state.js'
import { ANY_WHO_MAY_SERVE, MAX_SUCCESSORS } from './state/statements.js'
import { StdioClients } from './stdio-clients.js'
import { StdioProgram } from './stdio-program.js'

export interface TalkOptions {
  /** The commands of the service by name. `service.commands.handle` adds more. */
  commands?: CommandMap | undefined
  /** The largest body of a command or an answer, in bytes. Default: 16 MiB, and 64 at most. */
  maxBody?: number | undefined
  /**
   * A program and its arguments. It executes the commands, speaks JSON-RPC by its stdin and stdout, and is kept
   * running.
   */
  stdio?: readonly string[] | undefined
  /** How many events are kept for those who come back. Default: 1 024, of 1 MiB and 60 s at most. */
  events?: Pick<EventRingOptions, 'maxEvents' | 'maxBytes' | 'maxAge'> | undefined
  /** How much is kept for browsers that come back. Default: 16 MiB and 60 s at most. */
  clients?: ClientsOptions | undefined
  /** The process keys that may write the state, beside the service itself. */
  writers?: readonly (Buffer | string)[] | undefined
  /**
   * Who may take the state over: keys of services, or of processes, whose services all may; or `serve` for all who may
   * serve this role. The service's own process key is always among them.
   */
  successors?: readonly (Buffer | string)[] | typeof ANY_WHO_MAY_SERVE | undefined
}

export interface TalkParts extends TalkOptions {
  registry: Buffer
  role: ServiceRole
  /** Whether the service takes over from another instance. It has a state to talk about then. */
  isNewcomer: boolean
  overseer: Pick<HandOverOptions, 'mayServe' | 'isRegistered'> &
    Pick<ClientsParts, 'instances' | 'isInstance'>
  /** Called with the key, in hex, of the instance that has taken over. */
  onmoved: (key: string) => void
  denialOf: Denial
  onnotice: (notice: SeaportError) => void
  /** Called when the service's commands, events, state or clients are first used. */
  onfirst: () => void
}

/** The commands, events, state and clients of a service. It takes no conversations until one of these is used. */
export class Talk {
  readonly commands: Commands
  readonly #clients: Clients
  readonly #denialOf: Denial
  readonly #events: Events
  readonly #state: State
  readonly #onwanted: () => void
  readonly #speaker: Speaker
  readonly #program: StdioProgram | null
  readonly #handOverOptions: Omit<HandOverOptions, 'keyPair'>
  readonly #isNewcomer: boolean
  #handOver: HandOver | null = null
  #isWanted: boolean
  #isListening = false

  /** @throws USAGE */
  constructor({
    registry,
    role,
    isNewcomer,
    overseer,
    onmoved,
    commands,
    writers,
    successors,
    maxBody,
    denialOf,
    onnotice,
    onfirst,
    events: ring,
    stdio,
    clients
  }: TalkParts) {
    this.#isNewcomer = isNewcomer
    this.#isWanted =
      isNewcomer || [commands, stdio, writers, successors].some((given) => given !== undefined)
    this.#onwanted = () => {
      if (this.#isWanted) return
      this.#isWanted = true
      onfirst()
    }
    this.#denialOf = denialOf
    this.commands = new Commands({ maxBody, onfirst: this.#onwanted })
    this.#events = new Events({ denialOf, onnotice, ...ring })
    const scope = { registry: toHex(registry), role: role.role }
    this.#clients = new Clients({ ...clients, ...overseer, scope, onnotice, onwanted: onfirst })
    this.#state = new State({
      scope,
      successors: successorsOf(successors ?? []),
      writers: (writers ?? []).map((key) => toHex(parseKey(key, 'key of a writer'))),
      onchange: (change) => this.#events.emitOwn(STATE, change),
      onnotice
    })
    this.#handOverOptions = {
      scope,
      state: this.#state,
      ...overseer,
      onmoved: (key) => {
        this.#events.emitOwn(MOVED, new JsonText(JSON.stringify({ to: key })))
        onmoved(key)
      },
      onnotice
    }
    this.#speaker = new Speaker({
      commands: this.commands,
      maxBody,
      denialOf,
      onnotice,
      events: this.#events
    })
    this.#program = stdio ? this.#programOf(stdio, onnotice) : null
    this.commands
      .handleOwn('$describe', () => this.#describe(role))
      .handleOwn('$ping', (data) => data)
      .handleOwn('$stats', () => this.getStats())
      .handleOwn(STATE, (data) => this.#state.read(data))
      .handleOwn(SET_STATE, (data, context) => this.#state.takeWrite(data, context))
    for (const [name, how] of Object.entries(commands ?? {})) {
      if (typeof how === 'function') this.commands.handle(name, how)
      else this.commands.handle(name, how, how.handler)
    }
  }

  /**
   * Reads the state in the service's folder.
   *
   * @param processKey whose services may take over
   * @throws STORAGE_FAILED, STORAGE_LOCKED
   */
  async open(keyPair: KeyPair, processKey: Buffer, files: StateFiles & { keptFolder: string }) {
    this.#handOver = new HandOver({ ...this.#handOverOptions, keyPair })
    if (this.#isNewcomer) this.#state.hold()
    await this.#clients.open(keyPair, files.keptFolder)
    await this.#state.open(keyPair, processKey, files)
    if (this.#state.head) this.#onwanted()
  }

  /**
   * Starts its program, if there is one.
   *
   * @throws COMMAND_FAILED
   */
  async start() {
    await this.#program?.start()
  }

  /** The clients. Once somebody reads this, browsers are taken. */
  get clients(): Clients {
    return this.#clients.wanted()
  }

  /** The events. Once somebody reads this, conversations are taken. */
  get events(): Events {
    this.#onwanted()
    return this.#events
  }

  /** The state, without the effect that reading `state` has. */
  get ownState(): State {
    return this.#state
  }

  /** The state. Once somebody reads this, conversations are taken. */
  get state(): State {
    this.#onwanted()
    return this.#state
  }

  #programOf(command: readonly string[], onnotice: (notice: SeaportError) => void): StdioProgram {
    const clients = new StdioClients({ clients: () => this.clients, program: () => program })
    const program: StdioProgram = new StdioProgram({
      onclients: (method, params) => clients.take(method, params),
      command,
      onevent: (type, data) => this.#events.emit(type, data),
      onstate: (name, value) =>
        value === undefined ? this.#state.delete(name) : this.#state.set(name, value),
      onnotice
    })
    this.commands.handleOthers((name, data, context) => program.ask(name, data, context))
    return program
  }

  /** The answer to `$describe`: the commands and the types of events. */
  #describe({ role, version }: ServiceRole) {
    const types = this.#events.types()
    const { size, head } = this.#state
    const state = head && { entries: size, term: head.term, rev: head.rev }
    return { role, version, commands: this.commands.describe(), events: Object.keys(types), state }
  }

  /** The counters. */
  getStats() {
    return {
      commands: this.commands.getStats(),
      events: { ...this.#events.stats },
      clients: { ...this.#clients.stats },
      state: { ...this.#state.stats, entries: this.#state.size }
    }
  }

  /**
   * Executes a command that came by letter.
   *
   * @param authorize whether who wrote it may open streams of a purpose; an error says why not
   */
  oncall(
    { from, ...call }: IncomingCall,
    { answer, fail }: CallReplies,
    authorize: (purpose: string) => boolean | SeaportError
  ) {
    const denial = denialIn(authorize(CONVERSATION)) ?? this.#denialOf(from, call.name)
    if (denial) return fail(denial.withExecuted('no'))
    this.commands.run(
      { ...call, id: 1, isStreaming: false },
      {
        peer: from,
        answer: (_, body) => answer(body),
        fail: (_, error) => fail(error),
        item: async () => {},
        queued() {},
        started() {}
      }
    )
  }

  /** @returns whether it takes conversations from now on and did not before */
  listen(listening: Listening): boolean {
    const takesClients = this.#clients.listen(listening)
    if (!this.#isWanted || this.#isListening) return takesClients
    this.#isListening = true
    this.#speaker.listen(listening)
    listening.handle(TAKEOVER, (stream, key) => {
      if (this.#handOver) this.#handOver.take(stream, key)
      else stream.destroy()
    })
    return true
  }

  /** Tells everybody who talks with it that no further calls are taken. */
  leave() {
    this.#speaker.leave()
    this.#clients.leave()
  }

  /** Called when rights have changed. */
  recheck() {
    this.#speaker.recheck()
  }

  async close() {
    this.#speaker.close()
    await this.#clients.close()
    this.#handOver?.close()
    await this.#program?.stop()
    await this.#state.close()
  }
}

function denialIn(may: boolean | SeaportError): SeaportError | null {
  if (may === true) return null
  return may || SeaportError.NOT_ALLOWED('the service takes no calls of this key')
}

/** @throws BAD_KEY, USAGE */
function successorsOf(given: NonNullable<TalkOptions['successors']>): string[] {
  if (given === ANY_WHO_MAY_SERVE) return [ANY_WHO_MAY_SERVE]
  // The limit leaves room for the process key beside these.
  if (Array.isArray(given) && given.length < MAX_SUCCESSORS) {
    return given.map((key) => toHex(parseKey(key, 'key of a successor')))
  }
  throw SeaportError.USAGE(
    `successors are '${ANY_WHO_MAY_SERVE}', or a list of at most ${MAX_SUCCESSORS - 1} keys`
  )
}
