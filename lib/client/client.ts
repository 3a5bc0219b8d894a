import { ChannelError } from './channel-error.js'
import { Outbox } from './outbox.js'
import { decodeFrame, encodeFrame, type WireHead } from './wire.js'

/** A WebSocket as browsers have it, as far as it is used here. */
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
  /** What the service is told of who this is, asked anew for each connection. */
  token?: unknown | (() => unknown | Promise<unknown>)
  /** A token of the gateway's own, which goes no further than to the gateway. */
  access?: string | (() => string | Promise<string>)
  /** Default: the one that there is. */
  WebSocket?: new (
    url: string,
    protocol: string
  ) => SocketLike
  /** How long it waits before it connects again, in ms, by how often that failed in a row. */
  backoffs?: readonly number[]
  random?: () => number
}

/** What came, and what kind it is of. */
export interface Message {
  kind: 'broadcast' | 'direct'
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: who listens knows what is sent
  data: any
}

export interface ClientEvents {
  /** It is connected; `resumed` if it goes on where it was. */
  connected: { id: string; session: string; resumed: boolean }
  /** A broadcast, or what is for this client alone. */
  message: Message
  broadcast: Message
  direct: Message
  /** More or fewer sessions of a client are there. */
  presence: { id: string; sessions: number; away: number }
  /** So many messages are lost; null if nobody knows how many. */
  missed: { count: number | null }
  /** The connection is gone. If it is final, no other one is made: whoever was sent away is not let in. */
  disconnected: { code: number; isFinal: boolean }
}

interface Global {
  WebSocket: NonNullable<ConnectOptions['WebSocket']>
}

const SUBPROTOCOL = 'hyperseaport.channel.1'
const BACKOFFS_MS = [0, 300, 1000, 3000, 10_000]
const JITTER = 0.5
/** A gateway that says nothing for so long is gone, in ms: it asks every 25 s. */
const SILENCE_MS = 40_000
const CHECK_INTERVAL_MS = 5000
/** The gateway leaves, it did not understand, we did not read, nobody is there: there may be a better one. */
const RETRIED = new Set([4001, 4002, 4008, 4013])
const OPEN = 1

// biome-ignore lint/suspicious/noExplicitAny: who listens knows what is sent
type Listener = (data: any, message?: Message) => void

/** A page's channel to a service. It comes back by itself, through whichever of its gateways is there. */
export class Client {
  /** Who the service says that this is; empty before it is connected. */
  id = ''
  session = ''
  isConnected = false
  readonly #urls: string[]
  readonly #options: ConnectOptions
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #outbox = new Outbox((text) => this.#socket?.send(text))
  readonly #places = new Map<string, [epoch: number, seq: number]>()
  #socket: SocketLike | null = null
  #resume: { ticket: string; secret: string } | null = null
  #failures = 0
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

  /** Hears an event of the client, or messages of a type: these come with what kind they are of. */
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
   * Says something to the service. Resolves with what it answers. While there is no connection it waits here.
   *
   * @throws ChannelError: QUEUE_FULL, CLOSED, or what the service answered with
   */
  // biome-ignore lint/suspicious/noExplicitAny: who asks knows what is answered
  send(type: string, data?: unknown): Promise<any> {
    return this.#outbox.add({ t: 'message', type }, data, this.isConnected)
  }

  /** Has a command of the service executed. It is not repeated if the connection is lost meanwhile. */
  // biome-ignore lint/suspicious/noExplicitAny: who asks knows what is answered
  call(command: string, data?: unknown): Promise<any> {
    return this.#outbox.add({ t: 'call', type: command }, data, this.isConnected)
  }

  /** Tells all other clients, where the service allows that. */
  async broadcast(type: string, data?: unknown): Promise<void> {
    await this.#outbox.add({ t: 'message', type, to: 'all' }, data, this.isConnected)
  }

  /** Tells one other client, where the service allows that. Resolves with how many of its sessions are there. */
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
      socket.send(encodeFrame({ t: 'connect', ...who, ...(resume && { resume }) }))
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
    this.#failures = 0
    this.isConnected = true
    this.id = String(id)
    this.session = String(session)
    this.#resume = { ticket: String(ticket), secret: String(secret) }
    if (!resumed) this.#places.clear()
    this.#goTo(at)
    this.#outbox.flush()
    this.#emit('connected', { id, session, resumed })
  }

  #onevent({ t, i, e, s, type, data }: WireHead) {
    const [epoch, seq] = this.#places.get(String(i)) ?? [0, 0]
    if (epoch === e && Number(s) <= seq) return
    this.#places.set(String(i), [Number(e), Number(s)])
    if (t === 'presence') return this.#emit('presence', data)
    const message = { kind: t as Message['kind'], type: String(type), data }
    this.#emit(t, message)
    this.#emit('message', message)
    if (!OWN.has(message.type)) this.#emit(message.type, data, message)
  }

  #goTo(at: unknown) {
    for (const [name, [epoch, seq]] of Object.entries(at as Record<string, [number, number]>)) {
      const [knownEpoch, knownSeq] = this.#places.get(name) ?? [0, 0]
      if (epoch !== knownEpoch || seq > knownSeq) this.#places.set(name, [epoch, seq])
    }
  }

  #lost(code: number) {
    this.#socket = null
    this.isConnected = false
    if (code >= 4000 && !RETRIED.has(code)) return this.#end(code)
    this.#outbox.onlost()
    this.#emit('disconnected', { code, isFinal: false })
    this.#connectLater()
  }

  #connectLater() {
    if (this.#isClosed) return
    const { backoffs = BACKOFFS_MS, random = Math.random } = this.#options
    const backoff = backoffs[Math.min(this.#failures++, backoffs.length - 1)] ?? 0
    this.#retry = setTimeout(() => void this.#connect(), backoff * (1 + JITTER * random()))
  }

  /** Sees that the gateway is gone, if nobody says so. */
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
        // Told as any other error that nobody catches, without the others hearing less.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}

const OWN = new Set([
  ...['connected', 'message', 'broadcast', 'direct', 'presence', 'missed', 'disconnected']
])

/** Connects to a service: `connect('wss://gateway.example.com/channel/chat@1.x', { token })`. */
export function connect(urls: string | readonly string[], options?: ConnectOptions): Client {
  return new Client(urls, options)
}

function given(value: unknown): unknown {
  return typeof value === 'function' ? value() : value
}
