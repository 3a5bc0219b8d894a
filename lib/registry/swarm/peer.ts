import { EventEmitter, once } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import { FailureDetector } from '../../core/failure-detector.js'
import { limitFrames } from '../../core/frame-limit.js'
import {
  c,
  type Encoding,
  isMalformedFrame,
  type MuxChannel,
  type MuxMessage,
  Protomux,
  type SecretStream,
  waitingMessages
} from '../../core/holepunch.js'
import { toHex } from '../../core/keys.js'
import type { RelayOffer } from '../../core/relay-offer.js'
import type { ServiceRecord } from '../trust/record.js'
import type { Statement } from '../trust/statement.js'
import { DEFAULT_LIMITS } from './limits.js'
import {
  type Answer,
  answerEncoding,
  type LeaseRequest,
  type LogNotice,
  type LogPage,
  leaseEncoding,
  logsEncoding,
  MAX_LISTED_LOGS,
  mailEncoding,
  type Ping,
  type PutRequest,
  pagesOf,
  pingEncoding,
  putEncoding,
  REGISTRY_PROTOCOL,
  relayEncoding
} from './protocol.js'
import { RateLimiter } from './rate-limiter.js'

interface PeerEvents {
  logs: [LogNotice[]]
  /** The list that the other side began with is complete. */
  introduced: []
  ping: [Ping]
  pong: []
  /** A relay that we may use. */
  relay: [RelayOffer]
  lease: [LeaseRequest]
  put: [PutRequest]
  /** Something of letters that are passed on; another file knows what. */
  mail: [Buffer]
  /**
   * An answer to a request that was answered before takes a lease back. One with the id 0 is said unasked.
   */
  afterword: [Answer]
  /** The other side broke the protocol; the connection is being closed. */
  malformed: [SeaportError]
  close: []
}

/** Protomux puts up to 8 MiB of answers into one message, Hypercore's blocks among them, and goes over it by one block. */
const MAX_FRAME_BYTES = 9 * 1024 * 1024
/** Messages that the other side has not taken. Beyond, no letters are passed on to it: they cost up to 68 KiB each. */
const MAX_WAITING = 64
const REQUEST_TIMEOUT_MS = 10_000
/** A peer that has more unanswered requests than this is flooding us, and is cut off. */
const MAX_PENDING_REQUESTS = 4096
/** A peer that sends so far beyond its rate that it would have to wait longer than this is cut off. */
const MAX_WAIT_MS = 10_000

/** Another participant of the registry, on one swarm connection, after the hellos. */
export class Peer extends EventEmitter<PeerEvents> {
  readonly connection: SecretStream
  readonly mux: Protomux
  /** Its swarm key, hex. */
  readonly key: string
  readonly identities: ReadonlySet<string>
  /** Whether the connection was cut because nothing came for too long. */
  silent = false
  closed = false

  readonly #budget: RateLimiter
  readonly #channel: MuxChannel
  readonly #logs: MuxMessage<LogPage>
  readonly #ping: MuxMessage<Ping>
  readonly #pong: MuxMessage<undefined>
  readonly #lease: MuxMessage<LeaseRequest>
  readonly #answer: MuxMessage<Answer>
  readonly #put: MuxMessage<PutRequest>
  readonly #relay: MuxMessage<RelayOffer>
  readonly #mail: MuxMessage<Buffer>
  readonly #failureDetector = new FailureDetector()
  readonly #requests = new Map<number, (answer: Answer | SeaportError) => void>()
  /** How many logs the other side's first list had so far. */
  #listed = 0
  #isIntroduced = false
  #requestId = 0
  #unanswered = 0
  #heartbeat: NodeJS.Timeout | null = null
  #heartbeatInterval = 0
  #pinging: (() => Ping) | null = null
  #bytesRead = 0
  #isGathering = false
  #pause: NodeJS.Timeout | null = null

  /**
   * @param identities keys in hex that the other side has proven to hold
   * @param budget what each key may send, over all connections
   */
  constructor(
    connection: SecretStream,
    identities: ReadonlySet<string> = new Set(),
    budget = new RateLimiter({
      rate: DEFAULT_LIMITS.messageRate,
      burst: DEFAULT_LIMITS.messageBurst
    })
  ) {
    super()
    this.#budget = budget
    // Each lease that it carries listens.
    this.setMaxListeners(0)
    this.identities = identities
    this.connection = connection
    limitFrames(connection, MAX_FRAME_BYTES)
    this.key = toHex(connection.remotePublicKey)
    this.mux = Protomux.from(connection)
    const channel = this.mux.createChannel({
      protocol: REGISTRY_PROTOCOL,
      onclose: () => this.destroy()
    })
    if (!channel) throw SeaportError.CLOSED('the connection closed before the channel opened')
    this.#channel = channel
    this.#logs = this.#message(logsEncoding, (page) => this.#onlogs(page))
    this.#ping = this.#message(pingEncoding, (ping) => this.#onping(ping))
    this.#pong = this.#message(c.none, () => this.emit('pong'))
    this.#lease = this.#message(leaseEncoding, (request) => this.#onrequest('lease', request))
    this.#answer = this.#message(answerEncoding, (answer) => {
      const settle = this.#requests.get(answer.id)
      if (settle) settle(answer)
      else this.emit('afterword', answer)
    })
    this.#put = this.#message(putEncoding, (request) => this.#onrequest('put', request))
    this.#relay = this.#message(relayEncoding, (offer) => this.emit('relay', offer))
    this.#mail = this.#message(mailEncoding, (frame) => this.emit('mail', frame))
    connection.on('error', (error) => this.#onerror(error))
    connection.on('close', () => this.#onclose())
    channel.open()
  }

  /** Whether nothing came from the other side since the last beat. */
  get isDoubtful(): boolean {
    return this.#failureDetector.isDoubtful
  }

  /** Offers it a relay. */
  sendRelay(offer: RelayOffer) {
    if (!this.closed) this.#relay.send(offer)
  }

  /** Says something of letters that are passed on. False if so much waits already that it is not said. */
  sendMail(frame: Buffer): boolean {
    if (this.closed || waitingMessages(this.connection) > MAX_WAITING) return false
    this.#mail.send(frame)
    return true
  }

  /** Begins with all logs that we know of. */
  introduce(logs: readonly LogNotice[]) {
    for (const page of pagesOf(logs.slice(0, MAX_LISTED_LOGS))) this.#logs.send(page)
  }

  /** Tells what is new of some logs. */
  sendLogs(logs: LogNotice[]) {
    this.#logs.send({ logs, isLast: false })
  }

  /**
   * Pings from now on, as a registrar does, and cuts the connection when nothing comes back.
   *
   * @param ping makes each ping; its interval may change from one to the next
   */
  startPinging(ping: () => Ping) {
    this.#pinging = ping
    const first = ping()
    this.#ping.send(first)
    this.#beatEvery(first.interval)
  }

  /** Whether the other side says anything within `timeout` ms. */
  async isAlive(timeout: number): Promise<boolean> {
    if (this.closed || !this.#pinging) return false
    const pong = once(this, 'pong', { signal: AbortSignal.timeout(timeout) })
    this.#ping.send(this.#pinging())
    return pong.then(
      () => true,
      () => false
    )
  }

  /**
   * Asks a registrar for the lease of a record.
   *
   * @param record names us as its holder
   * @throws CLOSED, REGISTRAR_NOT_FOUND if no answer came in 10 s
   */
  lease(record: ServiceRecord): Promise<Answer> {
    return this.#request((id) => this.#lease.send({ id, record: JSON.stringify(record) }))
  }

  /**
   * Asks a registrar to write a statement into its log.
   *
   * @throws CLOSED, REGISTRAR_NOT_FOUND if no answer came in 10 s
   */
  put(statement: Statement): Promise<Answer> {
    return this.#request((id) => this.#put.send({ id, statement: JSON.stringify(statement) }))
  }

  /** Answers a request. */
  answer(answer: Answer) {
    this.#unanswered--
    this.#gather()
    this.#answer.send(answer)
  }

  /**
   * Takes back what was given in answer to a request; or tells of what nobody asked for, which has the id 0.
   */
  tell(reason: SeaportError, id = 0) {
    if (!this.closed) this.#answer.send({ id, code: reason.code, text: reason.text, seq: 0 })
  }

  destroy(error?: Error) {
    this.connection.destroy(error)
  }

  #message<T>(encoding: Encoding<T>, onmessage: (value: T) => void): MuxMessage<T> {
    return this.#channel.addMessage({
      encoding,
      onmessage: (value) => {
        this.spend()
        onmessage(value)
      }
    })
  }

  /**
   * Counts a message, or what costs as much as some of them. A peer that sends too much is not read from for a while, so
   * that what waits fills its own memory.
   *
   * @throws LIMIT_REACHED
   */
  spend(count = 1) {
    let wait = this.#budget.spend(this.key, count)
    for (const key of this.identities) {
      if (key !== this.key) wait = Math.max(wait, this.#budget.spend(key, count))
    }
    if (wait === 0) return
    if (wait > MAX_WAIT_MS) throw SeaportError.LIMIT_REACHED('far too many messages at once')
    this.connection.pause()
    if (this.#pause) clearTimeout(this.#pause)
    this.#pause = setTimeout(() => {
      this.#pause = null
      this.connection.resume()
    }, wait)
  }

  /**
   * What is said in one turn of the event loop leaves as one message: each costs an encryption and a packet.
   */
  #gather() {
    if (this.#isGathering || this.closed) return
    this.#isGathering = true
    this.mux.cork()
    setImmediate(() => {
      this.#isGathering = false
      if (!this.closed) this.mux.uncork()
    })
  }

  /** @throws BAD_MESSAGE for a list that does not end */
  #onlogs({ logs, isLast }: LogPage) {
    if (!this.#isIntroduced) {
      this.#listed += logs.length
      if (this.#listed > MAX_LISTED_LOGS) throw SeaportError.BAD_MESSAGE('too many logs in a list')
    }
    this.emit('logs', logs)
    if (!isLast || this.#isIntroduced) return
    this.#isIntroduced = true
    this.emit('introduced')
  }

  #onping(ping: Ping) {
    this.#pong.send(undefined)
    this.#beatEvery(ping.interval)
    this.emit('ping', ping)
  }

  #request(send: (id: number) => void): Promise<Answer> {
    if (this.closed) return Promise.reject(SeaportError.CLOSED('the registrar is gone'))
    const id = ++this.#requestId
    return new Promise((resolve, reject) => {
      const settle = (answer: Answer | SeaportError) => {
        clearTimeout(timer)
        this.#requests.delete(id)
        if (answer instanceof SeaportError) reject(answer)
        else resolve(answer)
      }
      const timer = setTimeout(
        () => settle(SeaportError.REGISTRAR_NOT_FOUND('the registrar did not answer')),
        REQUEST_TIMEOUT_MS
      )
      this.#requests.set(id, settle)
      this.#gather()
      send(id)
    })
  }

  #onrequest(kind: 'lease', request: LeaseRequest): void
  #onrequest(kind: 'put', request: PutRequest): void
  #onrequest(kind: 'lease' | 'put', request: LeaseRequest & PutRequest) {
    if (++this.#unanswered > MAX_PENDING_REQUESTS) {
      throw SeaportError.BAD_MESSAGE('too many requests at once')
    }
    this.emit(kind, request)
  }

  #beatEvery(interval: number) {
    if (this.closed || interval === this.#heartbeatInterval) return
    if (this.#heartbeat) clearInterval(this.#heartbeat)
    this.#heartbeatInterval = interval
    this.#heartbeat = setInterval(() => this.#beat(), interval)
  }

  #beat() {
    const { rawBytesRead } = this.connection
    // A peer that we do not read from, because it sent too much, is not silent.
    const isHeard = this.#pause !== null || rawBytesRead !== this.#bytesRead
    this.#bytesRead = rawBytesRead
    if (this.#failureDetector.beat(isHeard, this.#pinging ? null : this.#heartbeatInterval)) {
      this.silent = true
      return this.destroy()
    }
    if (!this.#pinging) return
    const ping = this.#pinging()
    this.#ping.send(ping)
    this.#beatEvery(ping.interval)
  }

  #onerror(error: Error & { code?: string }) {
    if (error.code === 'LIMIT_REACHED') this.emit('malformed', error as SeaportError)
    else if (isMalformed(error))
      this.emit(
        'malformed',
        SeaportError.BAD_MESSAGE(`a peer sent a malformed message: ${error.message}`)
      )
  }

  #onclose() {
    this.closed = true
    if (this.#heartbeat) clearInterval(this.#heartbeat)
    if (this.#pause) clearTimeout(this.#pause)
    for (const settle of [...this.#requests.values()])
      settle(SeaportError.CLOSED('the registrar is gone'))
    this.emit('close')
  }
}

/** Whether the other side broke the protocol. An error that nobody recognises bars nobody. */
function isMalformed(error: Error): boolean {
  return error instanceof SeaportError ? error.code === 'BAD_MESSAGE' : isMalformedFrame(error)
}
