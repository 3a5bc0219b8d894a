import type { Agent } from 'node:http'
import type { Duplex } from 'node:stream'
import { hostInUrl } from './core/listen.js'
import type { RoleRange } from './core/role.js'
import type { BalanceMode } from './dialing/balancer.js'
import type { Dialer } from './dialing/dialer.js'
import type { StreamClient } from './http/client.js'
import type { CommandContract } from './messaging/contract.js'
import type { Emitter } from './messaging/emitter.js'
import type { EntryEvents } from './messaging/entry-events.js'
import { type Answer, sendAll } from './messaging/send-all.js'
import type { Sender, SendOptions } from './messaging/sender.js'
import type { EntryState } from './messaging/state/entry-state.js'
import type { TcpProxy } from './proxy/tcp-proxy.js'
import type { Instance } from './registry/replica/directory.js'

/** What an entry is made of. The consumer opens and closes these. */
export interface EntryParts {
  role: RoleRange
  instances: () => readonly Instance[]
  dialer: Dialer
  client: StreamClient
  sender: Sender
  events: EntryEvents
  state: EntryState
  emitter: Emitter
}

export interface ConnectOptions {
  signal?: AbortSignal | undefined
  /** Whether the stream stays open to write to when the other side has ended. Default: false. */
  allowHalfOpen?: boolean | undefined
}

/** One role of a consumer that opens no ports: it is reached by streams. */
export class PortlessEntry {
  /** Its name, as in `couchdb`. */
  readonly role: string
  /** Its semver range, as in `3.x`. */
  readonly range: string
  readonly #instances: () => readonly Instance[]
  readonly #dialer: Dialer
  readonly #client: StreamClient
  readonly #sender: Sender
  readonly #emitter: Emitter
  /** What its instances tell. */
  readonly events: EntryEvents
  /** What its instances share. */
  readonly state: EntryState

  /** @internal */
  constructor(parts: EntryParts) {
    const {
      role: { role, range },
      instances,
      dialer,
      client,
      sender,
      events,
      state,
      emitter
    } = parts
    this.role = role
    this.range = range
    this.#instances = instances
    this.#dialer = dialer
    this.#client = client
    this.#sender = sender
    this.#emitter = emitter
    this.events = events
    this.state = state
  }

  /** The instances that match now, in the order in which they would be tried. */
  instances(): readonly Instance[] {
    return this.#instances()
  }

  /** How instances are chosen. */
  get mode(): BalanceMode {
    return this.#dialer.mode
  }

  /**
   * Chooses otherwise from the next connection on.
   *
   * @throws USAGE
   */
  setMode(mode: BalanceMode) {
    this.#dialer.setMode(mode)
  }

  /**
   * Opens a stream to an instance, without a local port.
   *
   * @param options `signal` ends the attempt; the stream, once open, is the caller's to end. It ends by itself
   *   when the other side has ended, as sockets of `net.connect` do, unless `allowHalfOpen` is true.
   * @throws NO_INSTANCE with what each instance answered, or the signal's reason
   */
  async connect({ signal, allowHalfOpen = false }: ConnectOptions = {}): Promise<Duplex> {
    const stream = (await this.#dialer.dial(signal ? { signal } : {})).toDuplex()
    // Clients of databases wait for `close`, and would wait for ever.
    stream.allowHalfOpen = allowHalfOpen
    return stream
  }

  /** For `http.request`: its sockets are streams to instances, without a local port. */
  get agent(): Agent {
    return this.#client.agent
  }

  /** `fetch` over such streams: a path, or a URL whose host goes into the Host field only. */
  get fetch(): StreamClient['fetch'] {
    return this.#client.fetch
  }

  /**
   * Sends a command to an instance, and resolves with its answer. What was not executed there is tried elsewhere, and
   * so is what is idempotent.
   *
   * @param command its name, or one of a `contract`
   * @param data JSON or bytes
   * @throws what became of it: `error.executed` says whether it may have been executed (`no`, `yes`, `perhaps`)
   */
  send<I, O>(command: CommandContract<I, O>, data: I, options?: SendOptions): Promise<O>
  // biome-ignore lint/suspicious/noExplicitAny: who has no contract knows what is answered
  send(command: string, data?: unknown, options?: SendOptions): Promise<any>
  send(command: string | CommandContract, data?: unknown, options?: SendOptions) {
    return this.#sender.send(command, data, options)
  }

  /**
   * Sends a command to each instance that matches now, of every version; answers come as they come, and failures, too.
   *
   * @throws nothing of what an instance answers
   */
  sendAll(
    command: string | CommandContract,
    data?: unknown,
    options: Omit<SendOptions, 'instance'> = {}
  ): AsyncGenerator<Answer, void, void> {
    const keys = this.instances().map(({ servicePublicKey }) => servicePublicKey)
    return sendAll(this.#sender, keys, command, data, options)
  }

  /**
   * Sends a command whose answer comes in items. Leaving the loop over them ends its handler.
   *
   * @throws as `send` does
   */
  stream<I, O>(
    command: CommandContract<I, O>,
    data: I,
    options?: SendOptions
  ): AsyncGenerator<O, void, void>
  // biome-ignore lint/suspicious/noExplicitAny: who has no contract knows what is answered
  stream(command: string, data?: unknown, options?: SendOptions): AsyncGenerator<any, void, void>
  stream(command: string | CommandContract, data?: unknown, options?: SendOptions) {
    return this.#sender.stream(command, data, options)
  }

  /**
   * Tells all instances something, of every version. Waits for nobody: who cannot be reached does not hear it.
   *
   * @throws USAGE, BAD_OUTPUT, TOO_LARGE
   */
  emit(type: string, data?: unknown) {
    this.#emitter.emit(type, data)
  }

  /** How many instances match now, what the dials were answered, and how many commands were sent. */
  getStats() {
    return {
      instances: this.instances().length,
      dialer: { ...this.#dialer.stats },
      commands: { ...this.#sender.stats }
    }
  }

  /** The role and its range, as in `couchdb@3.x`. */
  toString(): string {
    return `${this.role}@${this.range}`
  }
}

/** One role of a consumer: a local port, a URL, or streams without either. */
export class ConsumerEntry extends PortlessEntry {
  readonly #proxy: TcpProxy

  /** @internal */
  constructor({ proxy, ...parts }: EntryParts & { proxy: TcpProxy }) {
    super(parts)
    this.#proxy = proxy
  }

  /** The local port of the proxy to it. */
  get port(): number {
    return this.#proxy.port
  }

  /** Where an HTTP client finds the service, as in `http://127.0.0.1:40123`. */
  get url(): string {
    return `http://${hostInUrl(this.#proxy.host)}:${this.port}`
  }

  /** How many instances match now, what the dials were answered, and what the local port counted. */
  override getStats() {
    return { ...super.getStats(), proxy: { ...this.#proxy.stats } }
  }
}
