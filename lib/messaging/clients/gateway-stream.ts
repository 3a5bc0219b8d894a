import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import type { Sink } from '../../link/sink.js'
import type { LinkStream } from '../../link/stream.js'
import type { Body } from '../body.js'
import { FrameReader, reasonOf } from '../frame-reader.js'
import {
  type ChannelFrame,
  type ChannelHead,
  decodeChannelFrame,
  encodeChannelFrame,
  MAX_CHANNEL_FRAME_BYTES,
  type Place
} from './channel-frames.js'
import type { ChannelRing, KeptMessage } from './channel-ring.js'

export interface GatewayStreamOptions {
  ring: ChannelRing
  /** Whether a gateway has a client that a message may be for. */
  concerns: (message: KeptMessage, gateway: GatewayStream) => boolean
  /** The client id of a session at this gateway; null if the gateway does not have that session. */
  idOf: (session: string, gateway: GatewayStream) => string | null
  onhello: (gateway: GatewayStream) => void
  onframe: (frame: ChannelFrame, gateway: GatewayStream) => void
  onclose: (gateway: GatewayStream, reason: SeaportError | null) => void
}

/** The replay of what a session missed. */
interface Replay {
  session: string
  id: string
  /** The number of the next message; 0 if the replay was not begun. */
  next: number
  place: Place
}

/** How much may be under way to a gateway. Further messages wait in the ring. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024
const MAX_REPLAYS = 65_536
/**
 * How often a gateway is told the number of the last message, if there were messages of which none was for it, in ms.
 */
const TELL_INTERVAL_MS = 5000
/** A place that means "from now on", and one that means "all that there is". */
export const FROM_NOW: Place = { epoch: 0, seq: 0 }
export const FROM_START: Place = { epoch: 1, seq: 0 }

/**
 * The stream of one gateway at an instance. Messages to browsers are sent in the order of the ring, as fast as the
 * gateway reads. Whoever comes back to it is sent what it missed before anything new.
 */
export class GatewayStream implements Sink {
  /** The gateway's key and the name of its run. Empty until it has said hello. */
  gateway = ''
  readonly #key: string
  readonly #stream: LinkStream
  readonly #options: GatewayStreamOptions
  readonly #reader: FrameReader<ChannelFrame>
  readonly #replays: Replay[] = []
  /** The number of the last message that was sent, or was for nobody there. */
  #seq = 0
  #toldSeq = 0
  #ticker: NodeJS.Timeout | null = null
  #isEnding = false
  #isClosed = false

  constructor(stream: LinkStream, key: Buffer, options: GatewayStreamOptions) {
    this.#stream = stream
    this.#key = toHex(key)
    this.#options = options
    this.#reader = new FrameReader({
      maxBytes: MAX_CHANNEL_FRAME_BYTES,
      decode: (bytes, start, end) => decodeChannelFrame(bytes.subarray(start, end)),
      onframe: (frame) => this.#take(frame)
    })
  }

  start() {
    this.#stream.attach(this)
    this.#stream.resume()
  }

  send(head: ChannelHead, body?: Body) {
    this.#write(encodeChannelFrame(head, body))
  }

  /** Sends messages as long as there are some and the limit allows it. */
  pump() {
    if (this.gateway === '' || this.#isEnding) return
    while (this.#stream.unsent < MAX_UNSENT_BYTES && !this.#isClosed) {
      const [replay] = this.#replays
      if (replay) this.#replayNext(replay)
      else if (this.#seq < this.#options.ring.seq) this.#sendNext()
      else break
    }
  }

  /** Tells the gateway that this instance leaves. What was written before arrives. */
  leave() {
    if (this.#isEnding || this.#isClosed) return
    this.pump()
    this.send({ t: 'leaving' })
    this.#isEnding = true
    this.#stream.end()
  }

  destroy(reason: SeaportError) {
    this.#stream.destroy(reason)
  }

  ondata(bytes: Buffer): boolean {
    try {
      this.#reader.push(bytes)
    } catch (error) {
      this.#reader.stop()
      this.#stream.destroy(reasonOf(error))
    }
    return true
  }

  onend() {
    this.#isEnding = true
    this.#stream.end()
  }

  ondrain() {
    this.pump()
  }

  onclose(reason: SeaportError | null) {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#reader.stop()
    if (this.#ticker) clearInterval(this.#ticker)
    this.#options.onclose(this, reason)
  }

  #take(frame: ChannelFrame) {
    const { head } = frame
    if (this.gateway === '') {
      if (head.t !== 'hello') throw SeaportError.BAD_MESSAGE('a gateway that does not say hello')
      return this.#greet(head)
    }
    if (head.t === 'resume') this.#replay(head.session, head)
    else this.#options.onframe(frame, this)
  }

  #greet({ gateway, epoch, seq }: { gateway: string } & Place) {
    const { ring } = this.#options
    if (epoch === ring.epoch && seq <= ring.seq) this.#seq = seq
    else this.#seq = epoch === FROM_START.epoch ? ring.first - 1 : ring.seq
    this.#toldSeq = this.#seq
    this.gateway = `${this.#key}.${gateway}`
    this.send({ t: 'welcome', epoch: ring.epoch, seq: this.#seq })
    this.#ticker = setInterval(() => this.#tellPlace(), TELL_INTERVAL_MS)
    this.#ticker.unref()
    this.#options.onhello(this)
    this.pump()
  }

  #replay(session: string, { epoch, seq }: Place) {
    const id = this.#options.idOf(session, this)
    if (id === null || this.#replays.length >= MAX_REPLAYS) {
      // Its page would wait for ever, and hear nothing of us: it goes on from here, and is told that it missed some.
      this.send({ t: 'missed', session })
      this.send({ t: 'replayed', session, epoch: this.#options.ring.epoch, seq: this.#seq })
      return
    }
    this.#replays.push({ session, id, next: 0, place: { epoch, seq } })
    this.pump()
  }

  #replayNext(replay: Replay) {
    const { ring } = this.#options
    const { session, place } = replay
    if (replay.next === 0) {
      const isKnown = place.epoch === ring.epoch && place.seq <= ring.seq
      // The place is from an earlier run of ours: the session missed all messages of this run, and some of the earlier
      // one that nobody can count.
      const count = place.epoch === FROM_START.epoch ? 0 : ring.missedAfter(place)
      if (count !== 0) this.send({ t: 'missed', session, count })
      replay.next = Math.max(isKnown ? place.seq + 1 : 1, ring.first)
    }
    if (replay.next > this.#seq) {
      this.#replays.shift()
      this.send({ t: 'replayed', session, epoch: ring.epoch, seq: this.#seq })
      return
    }
    const message = ring.at(replay.next)
    if (!message) {
      // The message was dropped from the ring while those before it were sent.
      this.send({ t: 'missed', session })
      replay.next = Math.max(replay.next + 1, ring.first)
      return
    }
    replay.next++
    if (message.head.kind === 'direct' && message.head.id !== replay.id) return
    this.send({ t: 'replay', session, ...message.head }, message.body)
  }

  #sendNext() {
    const { ring, concerns } = this.#options
    const message = ring.at(this.#seq + 1)
    if (!message) {
      const count = ring.missedAfter({ epoch: ring.epoch, seq: this.#seq })
      this.#seq = ring.first - 1
      this.send({ t: 'missed', count })
      return
    }
    this.#seq++
    if (!concerns(message, this)) return
    this.#toldSeq = this.#seq
    this.#write(message.frame)
  }

  /**
   * Tells the gateway the number of the last message, so that a browser that comes back does not ask for messages that
   * were never for it.
   */
  #tellPlace() {
    if (this.#toldSeq === this.#seq || this.#replays.length > 0) return
    this.#toldSeq = this.#seq
    this.send({ t: 'at', seq: this.#seq })
  }

  #write(frame: Buffer) {
    if (this.#isClosed || this.#isEnding) return
    this.#stream.write(frame)
  }
}
