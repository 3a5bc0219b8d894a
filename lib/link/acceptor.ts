import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { forward } from '../core/forward.js'
import {
  type DHTServer,
  type HyperDHT,
  ReadyResource,
  type SecretStream
} from '../core/holepunch.js'
import { type KeyPair, toHex } from '../core/keys.js'
import { BYTES, checkPurpose } from '../core/purpose.js'
import { startTimer } from '../core/timer.js'
import { Admission } from './admission.js'
import type { IncomingStream } from './incoming-stream.js'
import { CONNECT_TIMEOUT_MS, Link } from './link.js'
import type { Path } from './path.js'
import { cut, handOver } from './pipe.js'
import type { SocketDuplex } from './socket-duplex.js'
import { splice } from './splice.js'
import { cutStranded } from './stranded.js'
import type { LinkStream } from './stream.js'
import { MAX_STREAMS } from './streams.js'

/** Takes a stream, and the key of whoever opened it, for good. */
export type StreamTaker = (stream: SocketDuplex, remotePublicKey: Buffer) => void

/** Takes a stream of some purpose, and the key of whoever opened it, for good. What it throws cuts the stream. */
export type PurposeHandler = (stream: LinkStream, remotePublicKey: Buffer) => void

/** What a stream is, as far as its backend has to do with it. */
export interface BackendStream {
  /** Aborted when its opener gives up. */
  signal: Signal
  /** The key of whoever opened it. */
  remotePublicKey: Buffer
}

export interface AcceptorOptions {
  /** Not closed by the acceptor. */
  dht: HyperDHT
  /** The service's identity, which links are made to. */
  keyPair: KeyPair
  /**
   * Connects to the backend, once for each stream of bytes. What it throws, the opener is told. A backend that
   * takes streams itself comes as a function. Without this, streams of bytes are refused.
   */
  connect?: ((stream: BackendStream) => Promise<Duplex | StreamTaker>) | undefined
  /**
   * Whether a key may open streams of a purpose; an error says why not. Asked for each stream, and again at each
   * `recheck`. Default: all may.
   */
  authorize?: (remotePublicKey: Buffer, purpose: string) => boolean | SeaportError
  /** Links at a time. From three quarters of them on, idle ones give way to new ones. */
  maxLinks?: number
  /** Streams at a time on one link, those that wait for the backend included. */
  maxStreams?: number
}

const MAX_LINKS = 4096
export const DRAIN_TIMEOUT_MS = 30_000
/** How long a link is kept whose key may not open streams, in ms, so that its first open can be refused with a reason. */
const HEARING_MS = 1000
/** How long a drain waits for the last bytes to arrive, in ms. */
const FLUSH_TIMEOUT_MS = 1000

/**
 * Takes links to a service's key. Streams of bytes are connected to its backend; those of another purpose go to
 * who `handle`s it. An opener hears *connected* only when the backend is, and nothing of what it sends is read
 * before. Emits `refused` (a SeaportError: a stream that was not connected), `notice` (a SeaportError: a link that
 * was dropped for what it sent) and `draining` (whoever holds a long-lived stream should end it now).
 */
export class Acceptor extends ReadyResource {
  readonly stats = {
    /** Links now, and those of them on the direct path. */
    links: 0,
    direct: 0,
    /** Idle links that were ended to make room. */
    displaced: 0,
    /** Streams that were connected, that were not, and that were cut before their end. */
    accepted: 0,
    refused: 0,
    reset: 0
  }

  readonly #keyPair: KeyPair
  readonly #connect: AcceptorOptions['connect']
  readonly #authorize: NonNullable<AcceptorOptions['authorize']>
  readonly #admission: Admission
  readonly #maxStreams: number
  readonly #server: DHTServer
  readonly #handlers = new Map<string, PurposeHandler>()
  /** Streams that are open here, or wait for the backend. */
  #joined = 0
  #isDraining = false
  #onsettled: (() => void) | null = null

  constructor({
    dht,
    keyPair,
    connect,
    authorize = () => true,
    maxLinks = MAX_LINKS,
    maxStreams = MAX_STREAMS
  }: AcceptorOptions) {
    super()
    this.#keyPair = keyPair
    this.#connect = connect
    this.#authorize = authorize
    this.#admission = new Admission(maxLinks)
    this.#maxStreams = maxStreams
    this.#server = dht.createServer({ firewall: () => !this.#admission.hasRoom }, (connection) =>
      this.take(connection, 'dht')
    )
  }

  get publicKey(): Buffer {
    return this.#keyPair.publicKey
  }

  /** Streams that are open, or wait for the backend. */
  get streams(): number {
    let streams = 0
    for (const link of this.#admission.links) streams += link.size
    return streams
  }

  /** The purposes of streams that are taken. */
  get speaks(): string[] {
    return [...(this.#connect ? [BYTES] : []), ...this.#handlers.keys()]
  }

  /**
   * Gives the streams of a purpose to who takes them, from now on. Links that are there already have told the
   * other side what was spoken before.
   *
   * @throws USAGE
   */
  handle(purpose: string, handler: PurposeHandler) {
    if (this.speaks.includes(checkPurpose(purpose))) {
      throw SeaportError.USAGE(`the purpose ${JSON.stringify(purpose)} is taken already`)
    }
    this.#handlers.set(purpose, handler)
  }

  /** Ends the streams of those who may not use their purpose any more, and the links of those who may use none. */
  recheck() {
    for (const link of this.#admission.links) {
      const denials = new Map(
        this.speaks.map((purpose) => [purpose, this.#denialOf(link.remotePublicKey, purpose)])
      )
      const [first] = denials.values()
      const all = [...denials.values()]
      if (all.every((denial) => denial === null)) continue
      if (all.some((denial) => denial === null)) {
        link.recheck((purpose) => denials.get(purpose) ?? null)
      } else if (first && !isBeingToldSo(link)) link.destroy(first)
    }
  }

  /** Cuts the links over the DHT on which nothing arrives any more: our address is another one. */
  async checkPaths() {
    await cutStranded(this.#admission.links)
  }

  override async _open() {
    await this.#server.listen(this.#keyPair)
  }

  /**
   * Takes no new streams from now on, so that their openers go elsewhere, and lets those that are open
   * end. Resolves when all have, and their last bytes have arrived, or after `timeout` ms. Links stay up
   * until it is closed.
   */
  async drain(timeout = DRAIN_TIMEOUT_MS) {
    this.#isDraining = true
    this.emit('draining')
    await this.#settled(timeout)
    await Promise.all([...this.#admission.links].map((link) => link.flush(FLUSH_TIMEOUT_MS)))
  }

  /** Cuts all links. What is to end in order before that: `drain`. */
  override async _close() {
    const reason = SeaportError.LINK_LOST('the service is closing')
    for (const link of this.#admission.links) link.destroy(reason)
    await this.#server.close()
  }

  /** Takes a connection whose remote key is proven, and that came on this path. */
  take(connection: SecretStream, path: Path) {
    if (this.closing || !this.#admission.hasRoom) {
      connection.on('error', () => {})
      return connection.destroy()
    }
    const { surplus } = this.#admission
    surplus?.destroy(SeaportError.LIMIT_REACHED('there are many links, and this one was idle'))
    const direct = path === 'direct' ? 1 : 0
    const link = new Link(connection, {
      path,
      speaks: this.speaks,
      maxStreams: this.#maxStreams,
      // Whoever comes may be punching holes yet.
      hearTimeout: CONNECT_TIMEOUT_MS,
      onincoming: (incoming) => this.#onincoming(link, incoming)
    })
    this.#admission.add(link)
    this.stats.links++
    if (surplus) this.stats.displaced++
    this.stats.direct += direct
    forward(link, this, ['notice'])
    link.on('close', () => {
      this.stats.links--
      this.stats.direct -= direct
    })
  }

  /** Answers one open: checks whether it may, connects to the backend, and joins the two. Never rejects. */
  async #onincoming(link: Link, incoming: IncomingStream) {
    const { purpose } = incoming
    this.#joined++
    try {
      const handler = this.#handlers.get(purpose)
      const connect = purpose === BYTES ? this.#connect : undefined
      if (!handler && !connect) throw notSpoken(purpose)
      this.#check(link.remotePublicKey, purpose)
      if (!connect) return await this.#handTo(handler as PurposeHandler, incoming, link)
      const { remotePublicKey } = link
      const backend = await connect({ signal: incoming.signal, remotePublicKey })
      const stream = incoming.accept()
      if (stream === null) return giveUp(backend)
      this.stats.accepted++
      const reason =
        typeof backend === 'function'
          ? await giveTo(backend, stream.toDuplex(), remotePublicKey)
          : await splice(stream, backend)
      if (reason !== null) this.stats.reset++
    } catch (error) {
      this.#refuse(incoming, error)
    } finally {
      this.#joined--
      if (this.#joined === 0) this.#onsettled?.()
    }
  }

  async #handTo(handler: PurposeHandler, incoming: IncomingStream, { remotePublicKey }: Link) {
    const stream = incoming.accept()
    if (stream === null) return
    this.stats.accepted++
    const closed = new Promise<Error | null>((resolve) => stream.whenClosed(resolve))
    try {
      handler(stream, remotePublicKey)
    } catch (error) {
      stream.destroy(error as Error)
    }
    if ((await closed) !== null) this.stats.reset++
  }

  /** Waits until no stream is open. */
  #settled(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#joined === 0) return resolve()
      const timer = startTimer(resolve, timeout)
      this.#onsettled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #check(key: Buffer, purpose: string) {
    if (this.closing) throw SeaportError.REFUSED('the service is closing')
    if (this.#isDraining)
      throw SeaportError.REFUSED('the service is draining: it is about to leave')
    const denial = this.#denialOf(key, purpose)
    if (denial) throw denial
  }

  #denialOf(key: Buffer, purpose: string): SeaportError | null {
    const answer = this.#authorize(key, purpose)
    if (answer instanceof SeaportError) return answer
    return answer ? null : SeaportError.NOT_ALLOWED(`the service does not let ${toHex(key)} in`)
  }

  #refuse(incoming: IncomingStream, error: unknown) {
    if (incoming.isAnswered) return
    const reason =
      error instanceof SeaportError
        ? error
        : SeaportError.BACKEND_UNREACHABLE(
            `the backend cannot be reached (${(error as Error)?.message})`,
            error
          )
    this.stats.refused++
    incoming.refuse(reason)
    this.emit('refused', reason)
  }
}

function notSpoken(purpose: string): SeaportError {
  return SeaportError.REFUSED(
    purpose === BYTES
      ? 'this instance has no backend, and takes no streams of bytes'
      : `this instance does not speak ${purpose}`
  )
}

function giveTo(taker: StreamTaker, stream: SocketDuplex, key: Buffer): Promise<Error | null> {
  return handOver(stream, () => taker(stream, key))
}

function giveUp(backend: Duplex | StreamTaker) {
  if (typeof backend !== 'function') cut(backend, SeaportError.STREAM_RESET('the opener gave up'))
}

/** Whether a link is new and has carried no stream: the refusal of its first open may still be under way. */
function isBeingToldSo({ size, stats, idleFor }: Link): boolean {
  return size === 0 && stats.accepted === 0 && idleFor < HEARING_MS
}
