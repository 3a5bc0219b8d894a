import { ChannelError } from './channel-error.js'
import { Outbox } from './outbox.js'
import { decodeFrame, encodeFrame, type WireHead } from './wire.js'

/** The part of a browser's WebSocket that is used here. */
export interface SocketLike {
  binaryType: string
  readonly readyState: number
  send(data: string | Uint8Array): void
  close(code?: number): void
  onopen: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
}

export interface ConnectOptions {
  /** Tells the service who this client is. A function is called anew for each connection. */
  token?: unknown | (() => unknown | Promise<unknown>)
  /** A token of the gateway's own access rules. The gateway does not pass it on to the service. */
  access?: string | (() => string | Promise<string>)
  /** The constructor to use. Default: the global one. */
  WebSocket?: new (
    url: string,
    protocol: string
  ) => SocketLike
  /** Waits before each further try to connect, in ms. The last one repeats. */
  backoffs?: readonly number[]
  random?: () => number
}

/** A message as it was received. */
export interface Message {
  kind: 'broadcast' | 'direct'
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  data: any
}

export interface ClientEvents {
  /** The client is connected. `resumed` says whether its earlier session goes on. */
  connected: { id: string; session: string; resumed: boolean }
  /** A message of either kind, broadcast or direct. */
  message: Message
  broadcast: Message
  direct: Message
  /** The number of sessions of some client has changed. */
  presence: { id: string; sessions: number; away: number }
  /** The number of sessions of some client in a room has changed. Who is in the room hears it. */
  room: { id: string; sessions: number; away: number; room: string }
  /** Messages were lost; `count` is null if nobody knows how many. */
  missed: { count: number | null }
  /** The connection has ended. If that is final, as after a refusal, the client does not connect again. */
  disconnected: { code: number; isFinal: boolean }
}

interface Global {
  WebSocket: NonNullable<ConnectOptions['WebSocket']>
}

const SUBPROTOCOL = 'hyperseaport.channel.1'
const BACKOFFS_MS = [0, 300, 1000, 3000, 10_000]
const JITTER = 0.5
/** A gateway that was silent for so long counts as lost, in ms. It pings every 25 s. */
const SILENCE_MS = 40_000
const CHECK_INTERVAL_MS = 5000
/**
 * After these close codes (leaving, protocol, unread, try later) another gateway may do better, so we connect again.
 */
const RETRIED = new Set([4001, 4002, 4008, 4013])
/** The gateway did not understand what we said, or it was too large. */
const FAULTS = new Set([1009, 4002])
/** The page is cut for what it does itself, and perhaps soon again. */
const OWN = new Set([...FAULTS, 4008])
/** A connection that has lasted so long is a good one, in ms. */
const SETTLED_MS = 10_000
const REFUSED = 4003
const OPEN = 1
const MAX_GOTTEN = 1000

// biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
type Listener = (data: any, message?: Message) => void

/** A page's channel to a service. When its connection is lost it connects again, through whichever gateway answers. */
export class Client {
  /** The id that the service gave this client; empty before it is connected. */
  id = ''
  session = ''
  isConnected = false
  readonly #urls: string[]
  readonly #options: ConnectOptions
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #outbox = new Outbox((text) => this.#socket?.send(text))
  readonly #places = new Map<string, [epoch: number, seq: number]>()
  /** The latest messages that instances had kept. They are sent again until the instance knows that they are here. */
  readonly #gotten = new Set<string>()
  #socket: SocketLike | null = null
  #resume: { ticket: string; secret: string } | null = null
  #failures = 0
  #connectedAt = 0
  #lastHeard = 0
  #retry: ReturnType<typeof setTimeout> | null = null
  #checker: ReturnType<typeof setInterval> | null = null
  #isClosed = false

  constructor(urls: string | readonly string[], options: ConnectOptions = {}) {
    this.#urls = (typeof urls === 'string' ? [urls] : [...urls]).map((url) =>
      url.replace(/^http/, 'ws')
    )
    this.#options = options
    void this.#connect()
  }

  /**
   * Listens to an event of the client, or to messages of a type. A listener of a type is also given the whole
   * `Message`.
   */
  on<E extends keyof ClientEvents>(event: E, listener: (event: ClientEvents[E]) => void): this
  on(type: string, listener: Listener): this
  on(type: string, listener: Listener): this {
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(listener))
    return this
  }

  off(type: string, listener: Listener): this {
    this.#listeners.get(type)?.delete(listener)
    return this
  }

  /**
   * Says something to the service, and resolves with its answer. Without a connection the message waits here.
   *
   * @throws ChannelError: QUEUE_FULL, TOO_LARGE, CLOSED, or what the service answered with
   */
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  send(type: string, data?: unknown): Promise<any> {
    return this.#outbox.add({ t: 'message', type }, data, this.isConnected)
  }

  /** Calls a command of the service. It is not repeated if the connection is lost meanwhile. */
  // biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
  call(command: string, data?: unknown): Promise<any> {
    return this.#outbox.add({ t: 'call', type: command }, data, this.isConnected)
  }

  /** Tells all clients, if the service allows that. */
  async broadcast(type: string, data?: unknown): Promise<void> {
    await this.#outbox.add({ t: 'message', type, to: 'all' }, data, this.isConnected)
  }

  /** Tells one client, if the service allows that. Resolves with how many of its sessions are connected. */
  direct(id: string, type: string, data?: unknown): Promise<number> {
    return this.#outbox.add({ t: 'message', type, to: 'one', id }, data, this.isConnected)
  }

  /** Leaves for good. */
  close() {
    if (this.#isClosed) return
    if (this.#socket?.readyState === OPEN) this.#socket.send('{"t":"bye"}')
    this.#end(1000)
  }

  async #connect() {
    if (this.#isClosed) return
    const url = this.#urls[this.#failures % this.#urls.length] as string
    try {
      const [token, access] = await Promise.all([
        given(this.#options.token),
        given(this.#options.access)
      ])
      if (!this.#isClosed) this.#open(url, { token, access })
    } catch {
      this.#connectLater()
    }
  }

  #open(url: string, who: { token: unknown; access: unknown }) {
    const { WebSocket: Socket = (globalThis as unknown as Global).WebSocket } = this.#options
    const socket = new Socket(url, SUBPROTOCOL)
    this.#socket = socket
    this.#lastHeard = Date.now()
    this.#checker ??= setInterval(() => this.#check(), CHECK_INTERVAL_MS)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => {
      const resume = this.#resume && { ...this.#resume, at: Object.fromEntries(this.#places) }
      try {
        socket.send(encodeFrame({ t: 'connect', ...who, ...(resume && { resume }) }))
      } catch {
        // Its token is no JSON, or too large: no gateway would let it in.
        this.#end(REFUSED)
      }
    }
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
      if (socket === this.#socket) this.#take(data)
    }
    socket.onclose = ({ code }: { code: number }) => {
      if (socket === this.#socket) this.#lost(code)
    }
    socket.onerror = () => {}
  }

  #take(data: string | ArrayBuffer) {
    this.#lastHeard = Date.now()
    const head = decodeFrame(data)
    if (!head) return
    switch (head.t) {
      case 'connected':
        return this.#onconnected(head)
      case 'broadcast':
      case 'direct':
      case 'presence':
        return this.#onevent(head)
      case 'answer':
        return this.#outbox.settle(Number(head.n), null, head.data)
      case 'failed':
        return this.#outbox.settle(
          Number(head.n),
          new ChannelError(String(head.code), String(head.text))
        )
      case 'missed':
        return this.#emit('missed', { count: head.count })
      case 'ping':
        this.#socket?.send('{"t":"pong"}')
        return this.#goTo(head.at)
      case 'at':
        return this.#goTo(head.at)
    }
  }

  #onconnected({ id, session, ticket, secret, resumed, at }: WireHead) {
    this.#connectedAt = Date.now()
    this.isConnected = true
    this.id = String(id)
    this.session = String(session)
    this.#resume = { ticket: String(ticket), secret: String(secret) }
    if (!resumed) this.#places.clear()
    this.#goTo(at)
    this.#outbox.flush()
    this.#emit('connected', { id, session, resumed })
  }

  #onevent({ t, i, e, s, k, type, data }: WireHead) {
    if (typeof k === 'string') {
      this.#socket?.send(encodeFrame({ t: 'got', i, k }))
      if (!this.#isNew(k)) return
      return this.#onmessage(t as Message['kind'], String(type), data)
    }
    const [epoch, seq] = this.#places.get(String(i)) ?? [0, 0]
    if (epoch === e && Number(s) <= seq) return
    this.#places.set(String(i), [Number(e), Number(s)])
    if (t === 'presence') return this.#emit(type === 'room' ? 'room' : 'presence', data)
    this.#onmessage(t as Message['kind'], String(type), data)
  }

  #onmessage(kind: Message['kind'], type: string, data: unknown) {
    const message = { kind, type, data }
    this.#emit(kind, message)
    this.#emit('message', message)
    if (!EVENTS.has(type)) this.#emit(type, data, message)
  }

  /** Whether a message that an instance has kept was not heard before. */
  #isNew(key: string): boolean {
    if (this.#gotten.has(key)) return false
    this.#gotten.add(key)
    for (const first of this.#gotten) {
      if (this.#gotten.size <= MAX_GOTTEN) break
      this.#gotten.delete(first)
    }
    return true
  }

  #goTo(at: unknown) {
    for (const [name, [epoch, seq]] of Object.entries(at as Record<string, [number, number]>)) {
      const [knownEpoch, knownSeq] = this.#places.get(name) ?? [0, 0]
      if (epoch !== knownEpoch || seq > knownSeq) this.#places.set(name, [epoch, seq])
    }
  }

  #lost(code: number) {
    const isFault = FAULTS.has(code)
    // The first frame would be the same again.
    const isFinal = isFault ? !this.isConnected : code >= 4000 && !RETRIED.has(code)
    if (isFinal) return this.#end(code)
    const isSettled = Date.now() - this.#connectedAt >= SETTLED_MS
    if (this.isConnected && (isSettled || !OWN.has(code))) this.#failures = 0
    this.#socket = null
    this.isConnected = false
    this.#outbox.onlost(isFault)
    this.#emit('disconnected', { code, isFinal: false })
    this.#connectLater()
  }

  #connectLater() {
    if (this.#isClosed) return
    const { backoffs = BACKOFFS_MS, random = Math.random } = this.#options
    const backoff = backoffs[Math.min(this.#failures++, backoffs.length - 1)] ?? 0
    this.#retry = setTimeout(() => void this.#connect(), backoff * (1 + JITTER * random()))
  }

  /** Notices a gateway that is gone without having closed the connection. */
  #check() {
    const socket = this.#socket
    // A clock that was set back is as good a reason to try anew as a silence.
    if (!socket || Math.abs(Date.now() - this.#lastHeard) < SILENCE_MS) return
    socket.close()
    this.#lost(1006)
  }

  #end(code: number) {
    this.#isClosed = true
    this.isConnected = false
    const socket = this.#socket
    this.#socket = null
    socket?.close()
    if (this.#retry) clearTimeout(this.#retry)
    if (this.#checker) clearInterval(this.#checker)
    this.#outbox.end(new ChannelError('CLOSED', `the channel is closed (${code})`))
    this.#emit('disconnected', { code, isFinal: true })
  }

  #emit(type: string, data: unknown, message?: Message) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(data, message)
      } catch (error) {
        // A listener that throws is reported as an uncaught error, and the other listeners are still called.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}

const EVENTS = new Set([
  ...['connected', 'message', 'broadcast', 'direct', 'presence', 'room', 'missed', 'disconnected']
])

/** Connects to a service: `connect('wss://gateway.example.com/channel/chat@1.x', { token })`. */
export function connect(urls: string | readonly string[], options?: ConnectOptions): Client {
  return new Client(urls, options)
}

function given(value: unknown): unknown {
  return typeof value === 'function' ? value() : value
}
