import type { Duplex } from 'node:stream'
import type WebSocket from 'ws'
import { SeaportError } from '../../core/errors.js'
import type { Body } from '../../messaging/body.js'
import type {
  AnswerHead,
  ChannelHead,
  EventHead,
  MessageHead
} from '../../messaging/clients/channel-frames.js'
import { isFinalCode, REPLACED, SENT_AWAY } from '../../messaging/clients/close-codes.js'
import { hasFields, isClientId, type Ticket } from '../../messaging/clients/ticket.js'
import { isName } from '../../messaging/names.js'
import type { BrowserLimits } from './channel-limits.js'
import { CLOSE, decodeWire, encodeWire, type WireFrame, type WireMessage } from './wire.js'

/** The instance that a client's messages go to. */
export interface Home {
  send(head: ChannelHead, body?: Body): void
}

export interface BrowserParts {
  socket: WebSocket
  /** The connection below it. Messages are written to it as frames that many share. */
  connection: Duplex
  /** The client address that its limits count for. */
  client: string
}

/** What all browsers of a gateway have in common. */
export interface BrowserOptions {
  onconnect: (browser: Browser, frame: WireFrame) => void
  /** Finds the instance for what it says; null if there is none now. */
  homeOf: (browser: Browser) => Home | null
  /** Executes a command for it. */
  call: (browser: Browser, command: string, body: Body) => Promise<Body>
  /** It is cut, because it did not read. */
  onunread: () => void
  onrooms: (browser: Browser) => void
  /** It has a message that an instance has kept for it. */
  ongot: (browser: Browser, instance: unknown, key: string) => void
  onclose: (browser: Browser, how: 'bye' | 'lost' | null) => void
  limits: BrowserLimits
}

interface Unanswered {
  head: MessageHead
  body: Body
  feed: Home | null
}

/** How long a page may take to answer a close frame, in ms. */
const CLOSE_TIMEOUT_MS = 2000
const MAX_UNANSWERED = 1000
const MAX_KEY_LENGTH = 64
const MAX_UNANSWERED_BYTES = 4 * 1024 * 1024

/** One page on its WebSocket. */
export class Browser {
  readonly client: string
  session = ''
  id = ''
  /** The ticket by which an instance admitted it. */
  ticket = ''
  readonly rooms = new Set<string>()
  lastHeard = performance.now()
  lastPing = performance.now()
  readonly #options: BrowserOptions
  readonly #socket: WebSocket
  readonly #connection: Duplex
  /** Made when it is needed: most pages listen only. */
  #unanswered: Map<number, Unanswered> | null = null
  #unansweredBytes = 0
  #data: unknown
  #state: 'new' | 'connecting' | 'connected' | 'closed' = 'new'
  #how: 'bye' | 'lost' | null = 'lost'
  #tokens: number
  #refilledAt = performance.now()
  #unread = 0
  #isGathering = false
  /** Cuts it if it does not say who it is. */
  #timer: NodeJS.Timeout | null

  constructor({ socket, connection, client }: BrowserParts, options: BrowserOptions) {
    const { limits } = options
    this.#options = options
    this.#socket = socket
    this.#connection = connection
    this.client = client
    this.#tokens = limits.burst
    this.#timer = setTimeout(() => this.close(CLOSE.REFUSED), limits.helloTimeout)
    socket.on('error', () => {})
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#onmessage(data, isBinary))
    socket.on('close', () => this.#onclose())
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Called when it was admitted. */
  begin(text: string, { session, id, data }: Ticket, rooms: unknown) {
    this.#state = 'connected'
    this.ticket = text
    this.session = session
    this.id = id
    this.#data = data
    if (Array.isArray(rooms)) for (const room of rooms) this.rooms.add(String(room))
  }

  /** Whether a message is for it. */
  hears({ kind, id, filter, room }: EventHead): boolean {
    if (kind === 'direct') return id === this.id
    if (room !== undefined && !this.rooms.has(room)) return false
    return typeof filter !== 'object' || filter === null || hasFields(this.#data, filter)
  }

  deliver(message: WireMessage) {
    const socket = this.#socket
    if (this.#state === 'closed' || socket.readyState !== socket.OPEN) return
    const { unreadBytes, unreadMessages } = this.#options.limits
    const unread = this.#connection.writableLength
    if (unread === 0) {
      this.#connection.write(message)
      return
    }
    const isMany = this.#unread >= unreadMessages && !this.#isGathering
    if (unread > unreadBytes || isMany) {
      this.#options.onunread()
      return this.close(CLOSE.UNREAD)
    }
    this.#unread++
    this.#connection.write(message, this.#onwritten)
  }

  /** What it is sent in this turn goes out at once, as what it has missed does. */
  gather() {
    if (this.#isGathering) return
    this.#isGathering = true
    this.#connection.cork()
    process.nextTick(() => {
      this.#isGathering = false
      this.#connection.uncork()
    })
  }

  readonly #onwritten = () => {
    this.#unread--
  }

  tell(head: object, body?: Body) {
    this.deliver(encodeWire(head, body))
  }

  /** @param count undefined if nobody knows how many */
  tellMissed(count?: number) {
    this.tell({ t: 'missed', count: count ?? null })
  }

  ping(at: Record<string, [number, number]>) {
    this.lastPing = performance.now()
    this.tell({ t: 'ping', at })
  }

  answer({ n, code, text }: AnswerHead, body: Body) {
    const asked = this.#unanswered?.get(n)
    if (!asked) return
    this.#unanswered?.delete(n)
    this.#unansweredBytes -= asked.body.bytes.byteLength
    this.#tellAnswer(n, code === undefined ? null : { code, text: text ?? '' }, body)
  }

  /** Ends it for good, with the code of the service. */
  sendAway(code: number) {
    this.#how = null
    this.close(isFinalCode(code) ? code : SENT_AWAY)
  }

  setRoom(name: string, isIn: boolean) {
    if (isIn) this.rooms.add(name)
    else this.rooms.delete(name)
    this.#options.onrooms(this)
  }

  /**
   * Sends what is not answered yet to the instance that is responsible now. An instance recognizes what it has handled.
   */
  repeat(lost: Home) {
    for (const asked of this.#unanswered?.values() ?? []) {
      if (asked.feed === lost || asked.feed === null) this.#pass(asked)
    }
  }

  close(code: number) {
    if (this.#state === 'closed') return
    this.#socket.close(code)
    this.#onclose()
    // A page that does not read does not answer the close frame either.
    setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS).unref()
  }

  /** Cuts it, because it was silent for too long. */
  cut() {
    this.#socket.terminate()
    this.#onclose()
  }

  /** Ends this connection, because its session goes on by another one. */
  replace() {
    this.sendAway(REPLACED)
  }

  #onclose() {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#stopTimer()
    this.#unanswered = null
    this.#options.onclose(this, this.#how)
  }

  #stopTimer() {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
  }

  #onmessage(data: Buffer, isBinary: boolean) {
    if (this.#state === 'closed') return
    this.lastHeard = performance.now()
    try {
      this.#take(decodeWire(data, isBinary))
    } catch {
      this.close(this.#state === 'new' ? CLOSE.REFUSED : CLOSE.PROTOCOL)
    }
  }

  #take(frame: WireFrame) {
    const { head, fault } = frame
    if (this.#state !== 'connected') {
      if (head.t !== 'connect' || this.#state !== 'new' || fault) {
        throw SeaportError.BAD_MESSAGE('a page that does not connect first')
      }
      this.#state = 'connecting'
      this.#stopTimer()
      return this.#options.onconnect(this, frame)
    }
    switch (head.t) {
      case 'message':
      case 'call':
        return this.#say(frame)
      case 'got':
        if (typeof head.k === 'string' && head.k.length <= MAX_KEY_LENGTH && this.#mayGo()) {
          this.#options.ongot(this, head.i, head.k)
        }
        return
      case 'bye':
        this.#how = 'bye'
        return this.close(1000)
      default:
        // A pong, or a frame of a later version.
        return
    }
  }

  #say({ head, body, fault }: WireFrame) {
    const { t, n, type, to = 'service', id, answered = 0 } = head
    if (!isCount(n) || !isCount(answered) || typeof type !== 'string') {
      throw SeaportError.BAD_MESSAGE('a message without a number or a type')
    }
    // Its connection stays: a page that came back would say the same again.
    const refused = fault ?? checkSaid(head)
    if (refused) return this.#tellAnswer(n, refused)
    if (!this.#mayGo()) {
      const { rate } = this.#options.limits
      return this.#tellAnswer(n, SeaportError.BUSY(`a page may say ${rate} things a second`))
    }
    if (t === 'call') return void this.#call(n, type, body)
    const unanswered = this.#unanswered ?? new Map<number, Unanswered>()
    this.#unanswered = unanswered
    if (unanswered.has(n)) return
    const isFull =
      unanswered.size >= MAX_UNANSWERED ||
      this.#unansweredBytes + body.bytes.byteLength > MAX_UNANSWERED_BYTES
    if (isFull) return this.#tellAnswer(n, SeaportError.BUSY('too much waits for its answer'))
    const { session } = this
    const said: MessageHead = {
      ...{ t: 'message', session, n, answered, to: String(to), type },
      ...(typeof id === 'string' && { id })
    }
    const asked = { head: said, body, feed: null }
    unanswered.set(n, asked)
    this.#unansweredBytes += body.bytes.byteLength
    this.#pass(asked)
  }

  #pass(asked: Unanswered) {
    asked.feed = this.#options.homeOf(this)
    asked.feed?.send(asked.head, asked.body)
  }

  async #call(n: number, command: string, body: Body) {
    try {
      this.#tellAnswer(n, null, await this.#options.call(this, command, body))
    } catch (error) {
      const failed = error instanceof SeaportError ? error : SeaportError.BAD_GATEWAY('it failed')
      this.#tellAnswer(n, failed)
    }
  }

  #tellAnswer(n: number, failure: { code: string; text: string } | null, body?: Body) {
    if (failure) this.tell({ t: 'failed', n, code: failure.code, text: failure.text })
    else this.tell({ t: 'answer', n }, body)
  }

  #mayGo(): boolean {
    const { rate, burst } = this.#options.limits
    const now = performance.now()
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#refilledAt) * rate) / 1000)
    this.#refilledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

const RECEIVERS: ReadonlySet<unknown> = new Set(['service', 'all', 'one'])

/** Why what a page says is not passed on; null if it is. */
function checkSaid({ type, to = 'service', id = '' }: WireFrame['head']): SeaportError | null {
  if (!isName(type)) return SeaportError.USAGE('its type is no valid name')
  if (!RECEIVERS.has(to)) return SeaportError.USAGE('it is for service, all or one')
  return isClientId(id) || to !== 'one' ? null : SeaportError.USAGE('it is for no valid id')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
