import { SeaportError } from '../core/errors.js'
import type { MuxChannel, MuxMessage, Protomux } from '../core/holepunch.js'
import { BYTES, isPurpose } from '../core/purpose.js'
import { Backlog } from './backlog.js'
import { handshakeEncoding, REVISION } from './channel-handshake.js'
import {
  BLOCKED,
  CONNECTED,
  CREDIT,
  costOf,
  DATA,
  END,
  type Frame,
  OPEN,
  type OutgoingFrame,
  outOfPlace,
  PING,
  PONG,
  packetEncoding,
  printable,
  REFUSED,
  RESET,
  readPacket,
  resetError
} from './frames.js'
import { IdTable } from './id-table.js'
import { type Answering, IncomingStream } from './incoming-stream.js'
import type { LinkOptions } from './link-options.js'
import { MEMORY, type StreamMemory } from './memory.js'
import { Outbox } from './outbox.js'
import type { Path } from './path.js'
import { type Carrier, LinkStream } from './stream.js'
import { LinkBudget, Window } from './window.js'

/**
 * Byte streams on a connection, `hyperseaport/streams/2`. Both sides begin with a handshake that says
 * which purposes they speak.
 *
 *     opener                                acceptor
 *       ── open (purpose, window) ───────────▶   connects to its backend, then
 *       ◀──────────────────── connected (window) ──   or: refused (code, text)
 *       ── data, data, … ────────────────────▶
 *       ◀───────────────────────────── credit ──   as its reader reads
 *       ── end ──────────────────────────────▶   the other direction stays open
 *       ◀──────────────────── data, data, end ──
 *
 * The opener sends no data before *connected*, so an open may be given up and tried elsewhere, and
 * bytes reach one backend only. Either side may cut a stream at any time with *reset*.
 *
 * A stream has a purpose, which names the protocol that is spoken on it. The empty one stands for bytes of a
 * service's backend. A purpose that is not spoken is refused, and nothing else comes of it.
 *
 * Both sides may open. The connection's initiator counts its streams 1, 3, 5…, the other 2, 4, 6…,
 * and a number is never used twice, so no frame can be taken for another stream's.
 *
 * All streams share one Protomux channel. With a channel each, Protomux would drop frames for
 * streams that never were without telling, keep an entry for every open that was given up, and queue
 * unanswered opens without bound; here all of these have a limit, and whoever breaks one is cut off.
 */
export const STREAM_PROTOCOL = 'hyperseaport/streams/2'

/** Streams on one link, those being opened included: ten thousand WebSockets of one gateway to one instance, and some. */
export const MAX_STREAMS = 16_384

export interface StreamsOptions extends Pick<LinkOptions, 'maxStreams' | 'memory' | 'onincoming'> {
  mux: Protomux
  /** What carries the link. */
  path: Path
  /** The purposes of streams that are taken here, as the other side is told. */
  speaks: readonly string[]
  /** Something was heard from the other side. */
  onheard?: () => void
  /** It was the answer to an open or a ping. */
  onanswered?: () => void
  onpong?: (token: number) => void
  /** The first stream after none was opened. */
  onbusy?: () => void
  /** The other side does not speak this protocol, or not any more. */
  onclose?: () => void
}

export type OpenAnswer = (answer: LinkStream | SeaportError) => void

/** A stream that we asked for. */
interface Opening {
  purpose: string
  window: Window
  onanswer: OpenAnswer
}

export class Streams implements Carrier, Answering {
  readonly stats = {
    /** Streams that we opened and that were connected, and those that were not. */
    opened: 0,
    failed: 0,
    /** Streams of the other side that were connected, and those that were not. */
    accepted: 0,
    refused: 0,
    bytesSent: 0,
    bytesReceived: 0
  }

  readonly path: Path
  readonly #options: StreamsOptions
  readonly #maxStreams: number
  readonly #channel: MuxChannel | null
  readonly #message: MuxMessage<OutgoingFrame[] | Buffer> | null
  readonly #outbox: Outbox
  readonly #backlog: Backlog
  readonly #streams = new IdTable<LinkStream | Opening | IncomingStream>()
  readonly memory: StreamMemory
  readonly #budget: LinkBudget
  readonly #parity: number
  #lastLocalId: number
  #lastRemoteId: number
  /** Credit that the other side may still use on streams that were cut here. */
  #strays = 0
  /** The purposes that the other side spoke when the link was made; null until it has said so. */
  remoteSpeaks: readonly string[] | null = null
  #closed: SeaportError | null = null

  constructor(options: StreamsOptions) {
    const { mux, maxStreams = MAX_STREAMS, memory = MEMORY } = options
    this.memory = memory
    this.#budget = new LinkBudget(memory.windows)
    this.path = options.path
    this.#options = options
    this.#maxStreams = maxStreams
    this.#parity = mux.stream.isInitiator ? 1 : 0
    this.#lastLocalId = mux.stream.isInitiator ? -1 : 0
    this.#lastRemoteId = mux.stream.isInitiator ? 0 : -1
    this.#backlog = new Backlog({
      connection: mux.stream,
      ondrain: () => this.#outbox.flush()
    })
    this.#outbox = new Outbox({
      send: (frames) => this.#send(frames),
      askForRoom: () => this.#backlog.askForRoom(),
      onoverflow: () =>
        mux.destroy(SeaportError.BAD_MESSAGE('answers that the other side does not take'))
    })
    this.#channel = mux.createChannel({
      protocol: STREAM_PROTOCOL,
      handshake: handshakeEncoding,
      onopen: (handshake) => {
        this.remoteSpeaks = handshake.speaks
      },
      onclose: () => options.onclose?.(),
      ondrain: () => this.#outbox.drain()
    })
    this.#message =
      this.#channel?.addMessage({
        encoding: packetEncoding,
        onmessage: (packet) => this.#onpacket(packet as Buffer)
      }) ?? null
    this.#channel?.open({ revision: REVISION, speaks: options.speaks })
  }

  /** Streams, those being opened included. */
  get size(): number {
    return this.#streams.size
  }

  /** Whether any stream is connected. */
  get hasConnected(): boolean {
    return this.#streams.values().some((stream) => stream instanceof LinkStream)
  }

  /**
   * Asks for a stream. The answer comes once: the stream, or why there is none.
   *
   * @returns gives up waiting, with a code for the other side
   */
  open(purpose: string, onanswer: OpenAnswer): (code: string) => void {
    if (this.#closed || this.#streams.size >= this.#maxStreams) {
      onanswer(
        this.#closed ?? SeaportError.REFUSED(`the link carries ${this.#maxStreams} streams already`)
      )
      return () => {}
    }
    this.#lastLocalId += 2
    const id = this.#lastLocalId
    const opening: Opening = { purpose, window: new Window(this.#budget), onanswer }
    this.#add(id, opening)
    this.#outbox.push({ type: OPEN, id, purpose, window: opening.window.size })
    return (code) => {
      if (this.#streams.get(id) === opening) this.#giveUp(id, opening, code)
    }
  }

  ping(token: number) {
    this.#outbox.push({ type: PING, id: token })
  }

  /** Ends the streams of the other side that are of a purpose which it may not use, as `denialOf` says. */
  recheck(denialOf: (purpose: string) => SeaportError | null) {
    for (const stream of this.#streams.values()) {
      const isOpen = stream instanceof LinkStream
      if (!isOpen && !(stream instanceof IncomingStream)) continue
      if (stream.id % 2 === this.#parity) continue
      const denial = denialOf(stream.purpose)
      if (denial === null) continue
      if (isOpen) stream.destroy(denial)
      else {
        stream.refuse(denial)
        stream.abort(denial)
      }
    }
  }

  /** Ends all streams. */
  close(error: SeaportError) {
    if (this.#closed) return
    this.#closed = error
    this.#outbox.close()
    const streams = this.#streams.values()
    this.#streams.clear()
    for (const stream of streams) {
      if (stream instanceof LinkStream) stream.receiveReset(error)
      else if (stream instanceof IncomingStream) stream.abort(error)
      else {
        stream.window.release()
        stream.onanswer(error)
      }
    }
  }

  // What an incoming stream asks of those who carry it.

  accept(incoming: IncomingStream): LinkStream {
    this.stats.accepted++
    const { id, purpose, credit } = incoming
    const window = new Window(this.#budget)
    const stream = new LinkStream({ id, purpose, carrier: this, credit, window })
    this.#streams.set(id, stream)
    this.#outbox.push({ type: CONNECTED, id, window: window.size })
    return stream
  }

  refuse({ id }: IncomingStream, { code, text }: SeaportError) {
    this.stats.refused++
    this.#streams.delete(id)
    this.#outbox.push({ type: REFUSED, id, code, text })
  }

  // What a stream asks of those who carry it.

  schedule(stream: LinkStream, isUrgent?: boolean) {
    if (this.#streams.get(stream.id) === stream) this.#outbox.schedule(stream, isUrgent)
  }

  cut(stream: LinkStream, code: string) {
    if (this.#streams.get(stream.id) !== stream) return
    this.#outbox.forget(stream)
    this.#strays += stream.window
    this.#streams.delete(stream.id)
    this.#outbox.push({ type: RESET, id: stream.id, code })
  }

  finish(stream: LinkStream) {
    this.#streams.delete(stream.id)
  }

  #send(frames: OutgoingFrame[]): boolean {
    let byteLength = 0
    for (const frame of frames) if (frame.type === DATA) byteLength += frame.byteLength
    this.stats.bytesSent += byteLength
    this.#backlog.add(byteLength)
    return this.#message?.send(frames) ?? false
  }

  #onpacket(packet: Buffer) {
    this.#options.onheard?.()
    for (const frame of readPacket(packet)) {
      if (this.#closed) return
      this.#onframe(frame)
    }
  }

  #onframe(frame: Frame) {
    if (frame.type === PING) return this.#outbox.push({ type: PONG, id: frame.id })
    if (frame.type === PONG) {
      this.#options.onanswered?.()
      return this.#options.onpong?.(frame.id)
    }
    if (frame.type === OPEN) return this.#onopen(frame)

    const stream = this.#streams.get(frame.id)
    if (stream === undefined) return this.#onstray(frame)
    if (stream instanceof LinkStream) return this.#onstreamframe(stream, frame)
    if (stream instanceof IncomingStream) {
      if (frame.type !== RESET) throw outOfPlace(frame)
      this.#streams.delete(frame.id)
      return stream.abort(
        SeaportError.STREAM_RESET(`the opener gave up (${printable(frame.code)})`)
      )
    }
    this.#onanswer(stream, frame)
  }

  #onopen({ id, purpose, window }: Extract<Frame, { type: typeof OPEN }>) {
    if (id !== this.#lastRemoteId + 2) throw SeaportError.BAD_MESSAGE(`an open numbered ${id}`)
    this.#lastRemoteId = id
    const incoming = new IncomingStream(this, id, purpose, window)
    if (this.#streams.size >= this.#maxStreams) {
      return incoming.refuse(
        SeaportError.REFUSED(`the link carries ${this.#maxStreams} streams already`)
      )
    }
    this.#add(id, incoming)
    if (purpose !== BYTES && !isPurpose(purpose)) {
      return incoming.refuse(SeaportError.REFUSED('this purpose is not spoken here'))
    }
    if (this.#options.onincoming) this.#options.onincoming(incoming)
    else incoming.refuse(SeaportError.REFUSED('nothing is served here'))
  }

  #onanswer({ purpose, window, onanswer }: Opening, frame: Frame) {
    this.#options.onanswered?.()
    switch (frame.type) {
      case CONNECTED: {
        const { id, window: credit } = frame
        const stream = new LinkStream({ id, purpose, carrier: this, credit, window })
        this.#streams.set(frame.id, stream)
        this.stats.opened++
        return onanswer(stream)
      }
      case REFUSED:
        return this.#fail(frame.id, window, onanswer, SeaportError.remote(frame.code, frame.text))
      case RESET:
        return this.#fail(frame.id, window, onanswer, resetError(frame.code))
      default:
        throw outOfPlace(frame)
    }
  }

  #fail(id: number, window: Window, onanswer: OpenAnswer, error: SeaportError) {
    this.#streams.delete(id)
    window.release()
    this.stats.failed++
    onanswer(error)
  }

  #onstreamframe(stream: LinkStream, frame: Frame) {
    switch (frame.type) {
      case DATA:
        this.stats.bytesReceived += frame.bytes.byteLength
        if (!stream.receiveData(frame.bytes))
          throw SeaportError.BAD_MESSAGE('data beyond its window or its end')
        return
      case CREDIT:
        if (!stream.receiveCredit(frame.amount))
          throw SeaportError.BAD_MESSAGE('credit without end')
        return
      case BLOCKED:
        return stream.receiveBlocked()
      case END:
        if (!stream.receiveEnd()) throw SeaportError.BAD_MESSAGE('a second end')
        return
      case RESET:
        this.#streams.delete(frame.id)
        this.#outbox.forget(stream)
        stream.receiveReset(resetError(frame.code))
        return
      default:
        throw outOfPlace(frame)
    }
  }

  /** A frame of a stream that is not, or no longer. What was under way when we cut it is no offence. */
  #onstray(frame: Frame) {
    const isLocal = frame.id % 2 === this.#parity
    if (frame.id === 0 || frame.id > (isLocal ? this.#lastLocalId : this.#lastRemoteId)) {
      throw SeaportError.BAD_MESSAGE(`a frame of stream ${frame.id}, which never was`)
    }
    if (frame.type !== DATA) return
    this.#strays -= costOf(frame.bytes.byteLength)
    if (this.#strays < 0)
      throw SeaportError.BAD_MESSAGE(`data of stream ${frame.id}, which is over`)
  }

  /** The other side may have connected it just now, and use its window. */
  #giveUp(id: number, { window }: Opening, code: string) {
    this.stats.failed++
    this.#strays += window.open
    window.release()
    this.#streams.delete(id)
    this.#outbox.push({ type: RESET, id, code })
  }

  #add(id: number, stream: Opening | IncomingStream) {
    this.#streams.set(id, stream)
    if (this.#streams.size === 1) this.#options.onbusy?.()
  }
}
