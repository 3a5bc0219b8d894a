import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import type { Sink } from '../../link/sink.js'
import type { LinkStream } from '../../link/stream.js'
import type { Body } from '../body.js'
import { FrameReader } from '../frame-reader.js'
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
  /** Whether a gateway has somebody to whom a message is of interest. */
  concerns: (message: KeptMessage, gateway: GatewayStream) => boolean
  /** The id of a session that this gateway has; null if it has none of that name. */
  idOf: (session: string, gateway: GatewayStream) => string | null
  onhello: (gateway: GatewayStream) => void
  onframe: (frame: ChannelFrame, gateway: GatewayStream) => void
  onclose: (gateway: GatewayStream, reason: SeaportError | null) => void
}

/** What a session missed, on its way to it. */
interface Replay {
  session: string
  id: string
  /** The number that comes next; 0 if it was not begun. */
  next: number
  place: Place
}

/** What may be under way to a gateway: beyond, it waits in the ring. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024
const MAX_REPLAYS = 65_536
/** How often a gateway is told how far it is, if that has changed without a message for it, in ms. */
const TELL_INTERVAL_MS = 5000
/** A place that means "from now on", and one that means "all that there is". */
export const FROM_NOW: Place = { epoch: 0, seq: 0 }
export const FROM_START: Place = { epoch: 1, seq: 0 }

/**
 * The stream of one gateway at an instance. Messages to browsers are sent in the order of the ring, as fast as the
 * gateway reads. Whoever comes back to it is sent what it missed before anything new.
 */
export class GatewayStream implements Sink {
  /** Its key, and a name of this run of it. Empty until it has said hello. */
  gateway = ''
  readonly #key: string
  readonly #stream: LinkStream
  readonly #options: GatewayStreamOptions
  readonly #reader: FrameReader<ChannelFrame>
  readonly #replays: Replay[] = []
  /** The last message that was sent, or that was not for anybody there. */
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

  /** Sends what there is to be sent and may be. */
  pump() {
    if (this.gateway === '' || this.#isEnding) return
    while (this.#stream.unsent < MAX_UNSENT_BYTES && !this.#isClosed) {
      const [replay] = this.#replays
      if (replay) this.#replayNext(replay)
      else if (this.#seq < this.#options.ring.seq) this.#sendNext()
      else break
    }
  }

  /** It is to go elsewhere. What was written before arrives. */
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
      this.#stream.destroy(
        error instanceof SeaportError
          ? error
          : SeaportError.BAD_MESSAGE('what a gateway said could not be taken', error)
      )
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
    if (id === null || this.#replays.length >= MAX_REPLAYS) return
    this.#replays.push({ session, id, next: 0, place: { epoch, seq } })
    this.pump()
  }

  #replayNext(replay: Replay) {
    const { ring } = this.#options
    const { session, place } = replay
    if (replay.next === 0) {
      const isKnown = place.epoch === ring.epoch && place.seq <= ring.seq
      // Of another life of ours all that there is was missed, and more, which nobody can count.
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
      // It fell out of the ring while those before it were sent.
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

  /** So that whoever comes back later does not ask for what was never for it. */
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
