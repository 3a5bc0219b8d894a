import { SeaportError } from '../core/errors.js'
import type { LinkStream } from '../link/stream.js'
import { Conversation } from './conversation.js'
import type { EventRing, KeptEvent } from './event-ring.js'
import { encodeFrame, FAILURE, type Frame, MISSED, SUBSCRIBE, SUBSCRIBED } from './frames.js'
import { MOVED, OWN_PREFIX } from './names.js'

export interface SubscriberOptions {
  /** Hex. */
  peer: string
  ring: EventRing
  /** The error if it may not hear events of a type, or null if it may. */
  denialOf: (type: string) => SeaportError | null
  onclose: (reason: SeaportError | null) => void
}

const ANY_TYPE = '*'
/** How many events may wait for a subscriber that does not read, beyond those that its stream has taken. */
const MAX_WAITING_EVENTS = 1000
const MAX_WAITING_BYTES = 256 * 1024
/** From this many unsent bytes on, nothing more is read of a subscriber that does not read what it is told. */
const MAX_UNSENT_BYTES = 1024 * 1024
/** After so many events that it does not want, a subscriber is told how far it has heard. */
const UNWANTED_EVENTS = 16_384

/** A subscriber to the events of this instance. If it does not read it loses the oldest, and is told how many. */
export class Subscriber {
  readonly peer: string
  readonly #options: SubscriberOptions
  readonly #conversation: Conversation
  /** The types that it asked for; null before it has. */
  #asked: readonly string[] | null = null
  /** Those of them that it may hear; null if there are none. */
  #types: ReadonlySet<string> | null = null
  /** Up to where it knows that it has heard all that it wants. */
  #toldSeq = 0
  #waiting: KeptEvent[] = []
  #waitingBytes = 0
  #missed = 0
  #hasRoom = true
  #isEnding = false
  /** Events that were lost on the way to it. */
  dropped = 0

  constructor(stream: LinkStream, options: SubscriberOptions) {
    this.peer = options.peer
    this.#options = options
    this.#conversation = new Conversation(stream, {
      hasRoom: () => this.#conversation.unsent < MAX_UNSENT_BYTES,
      onframe: (frame) => this.#take(frame),
      onend: () => this.#conversation.end(),
      ondrain: () => {
        this.#conversation.resume()
        this.#flush()
      },
      onclose: (reason) => options.onclose(reason)
    })
    this.#conversation.start()
  }

  get waiting(): number {
    return this.#waiting.length
  }

  isWanted(name: string): boolean {
    if (this.#types === null) return false
    if (name === MOVED) return true
    return this.#types.has(name) || (this.#types.has('*') && !name.startsWith(OWN_PREFIX))
  }

  send(event: KeptEvent) {
    if (!this.isWanted(event.name)) return this.#pass(event)
    if (this.#hasRoom && this.#waiting.length === 0) this.#write(event)
    else this.#wait(event)
  }

  /** Called when rights have changed. Ends the subscription if it may not hear the events any more. */
  recheck() {
    if (this.#types === null) return
    const before = this.#types.size
    const may = this.#want(false)
    if (may && this.#types.size > before) this.#tellPlace()
  }

  /** Ends the subscription, after the events that wait were sent. */
  leave() {
    this.#isEnding = true
    if (this.#waiting.length === 0) this.#conversation.end()
  }

  #take(frame: Frame) {
    if (frame.type !== SUBSCRIBE) {
      throw SeaportError.BAD_MESSAGE(`a frame of type ${frame.type} from who hears events`)
    }
    if (frame.after && this.#asked !== null) {
      throw SeaportError.BAD_MESSAGE('a second place to go on from')
    }
    this.#asked = frame.types
    if (!this.#want(true)) return
    if (!frame.after) return this.#tellPlace()
    const { ring } = this.#options
    const { missed, events } = ring.since(frame.after, (name) => this.isWanted(name))
    const from = frame.after.epoch === ring.epoch ? Math.min(frame.after.seq, ring.seq) : 0
    this.#conversation.send({ type: SUBSCRIBED, epoch: ring.epoch, seq: from })
    this.#missed += missed
    for (const event of events) this.send(event)
  }

  /** @returns whether it may hear any of the types that it asked for */
  #want(isAnswer: boolean): boolean {
    const { denialOf } = this.#options
    const types = this.#asked ?? []
    const before = this.#types?.size ?? 0
    let denial = types.length === 0 ? denialOf(ANY_TYPE) : null
    const allowed = types.filter((type) => {
      const reason = denialOf(type)
      denial ??= reason
      return reason === null
    })
    this.#types = new Set(allowed)
    if (denial && (isAnswer || allowed.length < before)) this.#tell(denial)
    if (!denial || allowed.length > 0) {
      this.#forgetUnwanted()
      return true
    }
    this.#types = null
    this.#forgetUnwanted()
    this.#conversation.end()
    return false
  }

  /** Forgets those of the waiting events that it does not want any more, or may not hear. */
  #forgetUnwanted() {
    this.#waiting = this.#waiting.filter(({ name }) => this.isWanted(name))
    this.#waitingBytes = this.#waiting.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
  }

  #tell({ code, text }: SeaportError) {
    this.#conversation.send({ type: FAILURE, id: 0, executed: 'no', code, handlerCode: '', text })
  }

  /**
   * Tells it up to where it has heard all that it wants. Otherwise it would ask for all of that again when it comes
   * back.
   */
  #tellPlace() {
    const { epoch, seq } = this.#options.ring
    const [first] = this.#waiting
    this.#toldSeq = first ? first.seq - 1 : seq
    this.#conversation.send({ type: SUBSCRIBED, epoch, seq: this.#toldSeq })
  }

  /** Passes an event by that it does not want. */
  #pass({ seq }: KeptEvent) {
    const isDue = seq - this.#toldSeq >= UNWANTED_EVENTS
    if (isDue && this.#types && this.#hasRoom && this.#waiting.length === 0) this.#tellPlace()
  }

  #write(event: KeptEvent) {
    this.#toldSeq = event.seq
    if (this.#missed > 0) {
      this.#conversation.sendEncoded(encodeFrame({ type: MISSED, count: this.#missed }))
      this.#missed = 0
    }
    this.#hasRoom = this.#conversation.sendEncoded(event.bytes)
  }

  #wait(event: KeptEvent) {
    this.#waiting.push(event)
    this.#waitingBytes += event.bytes.byteLength
    while (this.#waiting.length > MAX_WAITING_EVENTS || this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#waitingBytes -= (this.#waiting.shift() as KeptEvent).bytes.byteLength
      this.#missed++
      this.dropped++
    }
  }

  #flush() {
    this.#hasRoom = true
    while (this.#hasRoom && this.#waiting.length > 0) {
      const event = this.#waiting.shift() as KeptEvent
      this.#waitingBytes -= event.bytes.byteLength
      this.#write(event)
    }
    if (this.#isEnding && this.#waiting.length === 0) this.#conversation.end()
  }
}
