import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { limitFrames } from '../core/frame-limit.js'
import {
  isMalformedFrame,
  Protomux,
  type SecretStream,
  waitingMessages
} from '../core/holepunch.js'
import { toHex } from '../core/keys.js'
import { BYTES, checkPurpose } from '../core/purpose.js'
import { isFrom, type RelayOffer } from '../core/relay-offer.js'
import { whyUnmet } from '../core/unmet.js'
import { MAX_MESSAGE_BYTES } from './frames.js'
import { Heartbeat } from './heartbeat.js'
import type { LinkOptions, OpenOptions } from './link-options.js'
import type { Path } from './path.js'
import type { LinkStream } from './stream.js'
import { Streams } from './streams.js'

export type { LinkOptions, OpenOptions }

/** HyperDHT gives up on a dead key after 4 s, and on a router that gives each call another port after 35. */
export const CONNECT_TIMEOUT_MS = 40_000
/** Twice what UDX waits before it sends its first packet again. */
const HEAR_TIMEOUT_MS = 2000
export const OPEN_TIMEOUT_MS = 2000
/**
 * Messages that may wait in the connection for the other side to take them. What we send stays far below. But Protomux
 * answers some messages by itself, so a side that keeps asking and never reads would fill our memory.
 */
const MAX_BACKLOG = 16_384

/** The token of pings that wait for all that was sent before, to tell them from the heartbeat's. */
const FLUSH = 1

interface LinkEvents {
  connect: []
  /** The other side has all that was sent before `flush` was called. */
  flushed: []
  /** The other side was deaf, and answers again. */
  revived: []
  close: [SeaportError]
  notice: [SeaportError]
}

/**
 * One encrypted connection to a remote key, with streams on it. Both sides have one. It counts as connected when the
 * other side was heard. On the direct path the handshake has shown that. HyperDHT carries its handshake by way of
 * others, and reports a connection before any packet came on it, so there the first message is waited for.
 * Emits `connect`, `close` (a SeaportError that says why), and before it `notice` (the same) if the other side broke
 * the protocol.
 */
export class Link extends EventEmitter<LinkEvents> {
  readonly #path: Path
  readonly #relay: RelayOffer | undefined
  readonly connection: SecretStream
  /** For the other protocols on this connection. */
  readonly mux: Protomux
  readonly #streams: Streams
  readonly #heartbeat: Heartbeat
  readonly #connectRtt: number | null
  readonly #hearTimeout: number
  #connecting: NodeJS.Timeout | null = null
  /** Called when the link is connected: from then on the time of opens runs that were asked for before. */
  readonly #onconnected = new Set<() => void>()
  #isConnected = false
  #closed: SeaportError | null = null
  #reason: unknown = null
  #busyAt = performance.now()

  constructor(connection: SecretStream, options: LinkOptions = {}) {
    super()
    const {
      path = 'dht',
      relay,
      rtt = null,
      speaks = [],
      connectTimeout = CONNECT_TIMEOUT_MS,
      hearTimeout = HEAR_TIMEOUT_MS,
      heartbeat,
      deadAfter,
      maxStreams,
      memory,
      onincoming
    } = options
    this.connection = connection
    this.#path = path
    this.#relay = relay
    this.#connectRtt = rtt
    this.#hearTimeout = hearTimeout
    limitFrames(connection, MAX_MESSAGE_BYTES)
    // This listener must come before Protomux's, which would decode a message that came whole, of any size.
    connection.on('data', (message: Buffer) => this.#checkMessage(message))
    this.mux = Protomux.from(connection)
    this.#heartbeat = new Heartbeat({
      isNeeded: () => this.#streams.size > 0,
      ping: () => this.#streams.ping(0),
      onrevived: () => this.emit('revived'),
      ondead: () => this.destroy(SeaportError.LINK_LOST(`${this.#name} does not answer any more`)),
      interval: heartbeat,
      deadAfter
    })
    this.#streams = new Streams({
      mux: this.mux,
      path,
      speaks,
      maxStreams,
      memory,
      onincoming,
      onheard: () => this.#heartbeat.heard(),
      onanswered: () => this.#heartbeat.answered(),
      onpong: (token) => token === FLUSH && this.emit('flushed'),
      onbusy: () => this.#onbusy(),
      onclose: () => this.#onprotocolclosed()
    })

    connection.on('error', (error: Error) => {
      this.#reason ??= error
    })
    connection.on('close', () => this.#onclose())
    if (connection.destroyed) queueMicrotask(() => this.#onclose())
    else if (connection.connected) this.#onconnection()
    else {
      connection.once('connect', () => this.#onconnection())
      this.#giveUpAfter(connectTimeout, () => whyUnmet(connection, undefined))
    }
  }

  /** What carries it now. */
  get path(): Path {
    return isFrom(this.#relay, this.connection) ? 'relayed' : this.#path
  }

  get remotePublicKey(): Buffer {
    return this.connection.remotePublicKey
  }

  get isConnected(): boolean {
    return this.#isConnected && !this.#closed
  }

  get isClosed(): boolean {
    return this.#closed !== null
  }

  /** Whether nothing was heard for a while, or a question was not answered. It is chosen only if there is no other. */
  get isSuspect(): boolean {
    return this.#heartbeat.isSilent || this.isDeaf
  }

  /** Whether the other side has not answered a question for a while, though something may be heard of it. */
  get isDeaf(): boolean {
    return this.#heartbeat.isDeaf
  }

  /** How long packets take there and back, in ms; null until it was measured. UDX says 0 until then. */
  get rtt(): number | null {
    return this.connection.rawStream?.rtt || this.#connectRtt
  }

  /** The purposes that the other side spoke when the link was made; null until it has said so. */
  get remoteSpeaks(): readonly string[] | null {
    return this.#streams.remoteSpeaks
  }

  /** Streams, those being opened included. */
  get size(): number {
    return this.#streams.size
  }

  /** Since when it has had no streams, by `performance.now()`. */
  get idleSince(): number {
    if (this.size > 0) this.#busyAt = performance.now()
    return this.#busyAt
  }

  /** For how long it has had no streams, in ms. */
  get idleFor(): number {
    return performance.now() - this.idleSince
  }

  get stats() {
    return { ...this.#streams.stats, streams: this.#streams.size }
  }

  /**
   * Waits until it is connected.
   *
   * @throws LINK_LOST, CLOSED
   */
  connected(): Promise<this> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      if (this.#isConnected) return resolve(this)
      this.once('connect', () => resolve(this))
      this.once('close', reject)
    })
  }

  /**
   * Opens a stream. Resolves when the other side is connected to its backend.
   *
   * @throws OPEN_TIMEOUT, LINK_LOST, what the other side refused with (BACKEND_UNREACHABLE,
   *   NOT_ALLOWED, REFUSED…), USAGE for what is no purpose, or the signal's reason
   */
  open({
    purpose = BYTES,
    timeout = OPEN_TIMEOUT_MS,
    signal
  }: OpenOptions = {}): Promise<LinkStream> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      if (signal?.aborted) return reject(signal.reason)
      if (purpose !== BYTES) checkPurpose(purpose)
      this.#busyAt = performance.now()
      let timer: NodeJS.Timeout | null = null
      let asked = 0
      const startTimer = () => {
        asked = this.#heartbeat.ask()
        timer = setTimeout(ontimeout, timeout)
      }
      const settle = () => {
        if (timer) clearTimeout(timer)
        this.#onconnected.delete(startTimer)
        signal?.removeEventListener('abort', onabort)
      }
      const onabort = () => {
        settle()
        giveUp('CLOSED')
        reject(signal?.reason)
      }
      const ontimeout = () => {
        settle()
        this.#heartbeat.missed(asked)
        giveUp('OPEN_TIMEOUT')
        reject(SeaportError.OPEN_TIMEOUT(`${this.#name} did not answer within ${timeout} ms`))
        this.#destroyIfDead()
      }
      const giveUp = this.#streams.open(purpose, (answer) => {
        settle()
        if (answer instanceof SeaportError) reject(answer)
        else resolve(answer)
      })
      signal?.addEventListener('abort', onabort, { once: true })
      if (this.#isConnected) startTimer()
      else this.#onconnected.add(startTimer)
    })
  }

  /**
   * Waits until the other side has all that was sent on streams that are over: it answers in order.
   *
   * @param timeout in ms
   * @returns whether it has answered
   */
  flush(timeout: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (!this.isConnected) return resolve(false)
      const settle = (isAnswered: boolean) => {
        clearTimeout(timer)
        this.off('flushed', onflushed)
        this.off('close', onclose)
        resolve(isAnswered)
      }
      const onflushed = () => settle(true)
      const onclose = () => settle(false)
      const timer = setTimeout(onclose, timeout)
      this.once('flushed', onflushed)
      this.once('close', onclose)
      this.#streams.ping(FLUSH)
    })
  }

  /** Ends the other side's streams of purposes that it may not use, as `denialOf` says. */
  recheck(denialOf: (purpose: string) => SeaportError | null) {
    this.#streams.recheck(denialOf)
  }

  /** Cuts the link and all that is on it. */
  destroy(error: SeaportError = SeaportError.LINK_LOST(`the link to ${this.#name} was closed`)) {
    if (this.#closed) return
    this.#reason ??= error
    this.connection.destroy()
    this.#onclose()
  }

  /** There is an encrypted connection, as far as is known. */
  #onconnection() {
    if (this.#closed || this.#isConnected) return
    if (this.path === 'direct') return this.#onconnect()
    this.#giveUpAfter(
      this.#hearTimeout,
      () =>
        'it was found, but no packet of it comes here; a firewall or NAT between the two lets none through'
    )
  }

  /** The other side was heard. */
  #onconnect() {
    if (this.#closed) return
    this.#isConnected = true
    if (this.#connecting) clearTimeout(this.#connecting)
    if (this.size > 0) this.#heartbeat.start()
    for (const startTimer of this.#onconnected) startTimer()
    this.#onconnected.clear()
    this.emit('connect')
  }

  /** The first stream after none is there. */
  #onbusy() {
    this.#busyAt = performance.now()
    if (this.#isConnected) this.#heartbeat.start()
  }

  #giveUpAfter(timeout: number, why: () => string) {
    if (this.#connecting) clearTimeout(this.#connecting)
    this.#connecting = setTimeout(() => {
      const text = `no link to ${this.#name} within ${timeout} ms: ${why()}`
      this.destroy(SeaportError.LINK_LOST(text))
    }, timeout)
  }

  /** Gives up the link early: an open was not answered either, and no stream would be cut. */
  #destroyIfDead() {
    if (!this.isSuspect || this.#streams.hasConnected) return
    this.destroy(SeaportError.LINK_LOST(`${this.#name} does not answer`))
  }

  #checkMessage(message: Buffer) {
    if (!this.#isConnected) this.#onconnect()
    if (message.byteLength > MAX_MESSAGE_BYTES) {
      this.mux.destroy(SeaportError.BAD_MESSAGE(`a message of ${message.byteLength} bytes`))
    } else if (waitingMessages(this.connection) > MAX_BACKLOG) {
      this.mux.destroy(SeaportError.BAD_MESSAGE('answers that the other side does not take'))
    }
  }

  /** The channel of the streams is closed. Unless the connection is closing, the other side does not speak our protocol. */
  #onprotocolclosed() {
    if (this.connection.destroying) return
    this.destroy(SeaportError.LINK_LOST(`${this.#name} carries no streams here`))
  }

  #onclose() {
    if (this.#closed) return
    this.#closed = this.#explain()
    this.#heartbeat.stop()
    if (this.#connecting) clearTimeout(this.#connecting)
    if (this.#closed.code === 'BAD_MESSAGE') this.emit('notice', this.#closed)
    this.#streams.close(this.#closed)
    this.emit('close', this.#closed)
  }

  #explain(): SeaportError {
    const reason = this.#reason
    if (reason instanceof SeaportError) return reason
    const code = (reason as NodeJS.ErrnoException | null)?.code
    if (!this.#isConnected) {
      return SeaportError.LINK_LOST(
        `no connection to ${this.#name} could be made: ${whyUnmet(this.connection, code)}`,
        reason
      )
    }
    // Errors of the network stack have codes. One without a code comes from decoding what the other side sent.
    if (reason instanceof Error && isMalformedFrame(reason)) {
      return SeaportError.BAD_MESSAGE(
        `${this.#name} sent what cannot be read (${reason.message})`,
        reason
      )
    }
    return SeaportError.LINK_LOST(
      `the link to ${this.#name} broke (${code ?? 'it was closed there'})`,
      reason
    )
  }

  get #name(): string {
    const key = this.connection.remotePublicKey
    return key ? `${toHex(key).slice(0, 8)}…` : 'the other side'
  }
}
