import { SeaportError } from '../../core/errors.js'
import { CHANNEL } from '../../core/purpose.js'
import { LastingStream, type LastingStreamOptions } from '../../link/lasting-stream.js'
import type { Sink } from '../../link/sink.js'
import type { LinkStream } from '../../link/stream.js'
import { type Body, decodeBody } from '../../messaging/body.js'
import {
  type ChannelFrame,
  type ChannelHead,
  type ConnectHead,
  decodeChannelFrame,
  type EventHead,
  encodeChannelFrame,
  MAX_CHANNEL_FRAME_BYTES,
  type Place
} from '../../messaging/clients/channel-frames.js'
import { FROM_NOW, FROM_START } from '../../messaging/clients/gateway-stream.js'
import { FrameReader, reasonOf } from '../../messaging/frame-reader.js'
import type { Browser } from './browser.js'
import { encodeWire, type WireMessage } from './wire.js'

export type AdmittedHead = Extract<ChannelHead, { t: 'admitted' }>
type RoomHead = Extract<ChannelHead, { t: 'room' }>

export interface FeedOptions {
  pool: LastingStreamOptions['pool']
  /** The key of the instance, in hex. */
  key: string
  /** The name that browsers know the instance by. */
  name: string
  /** The name of this run of the gateway. */
  gateway: string
  /** Whether the instance came while others were heard already. Then the feed begins with its first message. */
  isNewcomer: boolean
  /** The browser that has a session, if it is still here. */
  browserOf: (session: string) => Browser | undefined
  /** The instance is heard from now on, or again. */
  onopen: (feed: Feed) => void
}

/** How long an instance may take to let somebody in, in ms. */
const CONNECT_TIMEOUT_MS = 10_000
const MAX_AGAIN_BYTES = 4 * 1024 * 1024

/**
 * The messages of one instance for the browsers at this gateway. They cross the link once, however many browsers hear
 * them. A browser that comes back first gets what it missed, and then what all get.
 */
export class Feed {
  readonly key: string
  readonly name: string
  readonly #options: FeedOptions
  readonly #lasting: LastingStream
  /** Browsers that are up to date, with the number after which messages are new to them. */
  readonly #listening = new Map<Browser, number>()
  /** Browsers that are being told what they missed, and how far they are. */
  readonly #behind = new Map<Browser, Place>()
  /** The number of the last change of a browser's rooms that the instance has made. */
  #roomChanges = new WeakMap<Browser, number>()
  /** Messages that some browsers have missed, encoded, by number. */
  readonly #again = new Map<number, WireMessage>()
  #againBytes = 0
  readonly #asking = new Map<number, (head: AdmittedHead | 'refused' | null) => void>()
  #asked = 0
  #stream: LinkStream | null = null
  #place: Place | null = null
  #isOpen = false
  /** The instance has said that it leaves, and all its messages before that were received. */
  #hasLeft = false
  /** How many groups of browsers need it. */
  users = 0

  constructor(options: FeedOptions) {
    this.#options = options
    this.key = options.key
    this.name = options.name
    this.#lasting = new LastingStream({
      pool: options.pool,
      remotePublicKey: Buffer.from(options.key, 'hex'),
      purpose: CHANNEL
    })
    this.#lasting.on('stream', (stream) => this.#onstream(stream))
    this.#lasting.on('lost', () => this.#onlost())
    this.#lasting.open()
  }

  /** Whether it can be talked to now. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** How far a browser has heard it; null if it has heard nothing. */
  placeOf(browser: Browser): Place | null {
    return this.#behind.get(browser) ?? this.#place
  }

  /** Begins to deliver messages to a browser: first those since a place, if one is given, then those that come. */
  attach(browser: Browser, place: Place | null) {
    if (place) this.#behind.set(browser, place)
    else this.#listening.set(browser, this.#place?.seq ?? 0)
    if (!this.#isOpen) return
    this.announce(browser)
    if (place) this.send({ t: 'resume', session: browser.session, ...place })
  }

  /** Tells the instance that a browser is here. */
  announce(browser: Browser) {
    const { ticket, rooms } = browser
    const changes = this.#roomChanges.get(browser) ?? 0
    this.send({ t: 'here', ticket, rooms: [...rooms], changes })
  }

  /** @param how null tells the instance nothing, because the session goes on by another connection */
  detach(browser: Browser, how: 'bye' | 'lost' | null) {
    this.#listening.delete(browser)
    this.#behind.delete(browser)
    if (how) this.send({ t: 'gone', session: browser.session, how })
  }

  /** Asks the instance to admit a page. Resolves with null if it could not be asked. Never rejects. */
  connect(head: Omit<ConnectHead, 't' | 'n'>): Promise<AdmittedHead | 'refused' | null> {
    const n = ++this.#asked
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(null), CONNECT_TIMEOUT_MS)
      const settle = (outcome: AdmittedHead | 'refused' | null) => {
        clearTimeout(timer)
        this.#asking.delete(n)
        resolve(outcome)
      }
      this.#asking.set(n, settle)
      this.send({ t: 'connect', n, ...head })
    })
  }

  send(head: ChannelHead, body?: Body) {
    if (!this.#stream) return
    this.#stream.write(encodeChannelFrame(head, body))
  }

  /** Called when the instance is gone. Browsers may have missed its last messages, unless it said that it leaves. */
  close() {
    this.#lasting.close()
    this.#onlost()
    if (this.#hasLeft) return
    for (const browser of [...this.#listening.keys(), ...this.#behind.keys()]) browser.tellMissed()
  }

  #onstream(stream: LinkStream) {
    const reader = new FrameReader<ChannelFrame>({
      maxBytes: MAX_CHANNEL_FRAME_BYTES,
      decode: (bytes, start, end) => decodeChannelFrame(bytes.subarray(start, end)),
      onframe: (frame) => {
        if (this.#stream === stream) this.#take(frame)
      }
    })
    const sink: Sink = {
      ondata: (bytes) => {
        try {
          reader.push(bytes)
        } catch (error) {
          reader.stop()
          stream.destroy(reasonOf(error))
        }
        return true
      },
      onend: () => stream.end(),
      ondrain: () => {},
      onclose: () => reader.stop()
    }
    this.#stream = stream
    this.#roomChanges = new WeakMap()
    this.#isOpen = false
    stream.attach(sink)
    stream.resume()
    const from = this.#place ?? (this.#options.isNewcomer ? FROM_START : FROM_NOW)
    this.send({ t: 'hello', gateway: this.#options.gateway, ...from })
  }

  #onlost() {
    this.#stream = null
    this.#isOpen = false
    for (const settle of [...this.#asking.values()]) settle(null)
  }

  #take({ head, body }: ChannelFrame) {
    switch (head.t) {
      case 'welcome':
        return this.#onwelcome(head)
      case 'event':
        return this.#onevent(head, body)
      case 'replay':
        return this.#onreplay(head.session, head, body)
      case 'replayed':
        return this.#onreplayed(head.session, head.seq)
      case 'missed':
        return this.#onmissed(head.session, head.count)
      case 'at':
        if (this.#place) this.#place.seq = Math.max(this.#place.seq, head.seq)
        return
      case 'leaving':
        this.#hasLeft = true
        return
      case 'admitted':
        return this.#asking.get(head.n)?.(head)
      case 'refused':
        return this.#asking.get(head.n)?.('refused')
      case 'answer':
        return this.#options.browserOf(head.session)?.answer(head, body)
      case 'kept':
        return this.#onkept(head, body)
      case 'close':
        return this.#options.browserOf(head.session)?.sendAway(head.code)
      case 'room':
        return this.#onroom(head)
      default:
        throw SeaportError.BAD_MESSAGE(`a frame ${head.t} from an instance`)
    }
  }

  #onwelcome({ epoch, seq }: Place) {
    const before = this.#place
    this.#place = { epoch, seq }
    this.#forget()
    if (before && before.epoch !== epoch) {
      for (const browser of this.#listening.keys()) {
        this.#listening.set(browser, 0)
        if (!this.#hasLeft) browser.tellMissed()
      }
    }
    this.#hasLeft = false
    this.#isOpen = true
    for (const browser of [...this.#listening.keys(), ...this.#behind.keys()]) {
      this.announce(browser)
    }
    for (const [{ session }, place] of this.#behind) this.send({ t: 'resume', session, ...place })
    this.#options.onopen(this)
  }

  #onevent(head: EventHead, body: Body) {
    if (!this.#place) return
    this.#place.seq = head.seq
    let message: WireMessage | null = null
    for (const [browser, from] of this.#listening) {
      if (head.seq <= from || !browser.hears(head)) continue
      message ??= this.#encode(head, body)
      browser.deliver(message)
    }
  }

  #onreplay(session: string, head: EventHead, body: Body) {
    const browser = this.#options.browserOf(session)
    const place = browser && this.#behind.get(browser)
    if (!browser || !place || !this.#place) return
    const { epoch } = this.#place
    this.#behind.set(browser, { epoch, seq: head.seq })
    if (!browser.hears(head)) return
    browser.gather()
    browser.deliver(this.#encodeAgain(head, body))
  }

  #onreplayed(session: string, seq: number) {
    const browser = this.#options.browserOf(session)
    if (!browser || !this.#behind.delete(browser)) return
    this.#listening.set(browser, seq)
    if (this.#behind.size === 0) this.#forget()
  }

  #onmissed(session: string | undefined, count: number | undefined) {
    if (session !== undefined) return this.#options.browserOf(session)?.tellMissed(count)
    for (const browser of this.#listening.keys()) browser.tellMissed(count)
  }

  #onroom({ session, name, isIn, changes = 0 }: RoomHead) {
    const browser = this.#options.browserOf(session)
    if (!browser) return
    this.#roomChanges.set(browser, changes)
    browser.setRoom(name, isIn === 1)
  }

  /** A message that the instance has kept. The browser says when it has it. */
  #onkept({ session, key, type }: { session: string; key: string; type: string }, body: Body) {
    if (body.kind === 'json') decodeBody(body)
    this.#options.browserOf(session)?.tell({ t: 'direct', i: this.name, k: key, type }, body)
  }

  /** Encodes a message that many browsers may have missed. */
  #encodeAgain(head: EventHead, body: Body): WireMessage {
    const known = this.#again.get(head.seq)
    if (known) return known
    const message = this.#encode(head, body)
    this.#againBytes += message.byteLength
    if (this.#againBytes > MAX_AGAIN_BYTES) this.#forget()
    this.#again.set(head.seq, message)
    return message
  }

  #forget() {
    this.#again.clear()
    this.#againBytes = 0
  }

  /**
   * Encodes a message once for all browsers.
   *
   * @throws BAD_MESSAGE if its data is not valid JSON, since it becomes part of a JSON text
   */
  #encode({ kind, type, seq }: EventHead, body: Body): WireMessage {
    if (body.kind === 'json') decodeBody(body)
    return encodeWire({ t: kind, i: this.name, e: this.#place?.epoch, s: seq, type }, body)
  }
}
