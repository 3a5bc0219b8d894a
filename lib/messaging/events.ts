import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import { messageOf } from '../core/thrown.js'
import type { LinkStream } from '../link/stream.js'
import { type Body, decodeBody, encodeBody, type JsonText } from './body.js'
import { EventRing, type EventRingOptions } from './event-ring.js'
import { checkName, checkOwnName, STATE } from './names.js'
import type { Denial } from './responder.js'
import { Subscriber } from './subscriber.js'

/** Who emitted an event to a service. */
export interface EmittedBy {
  type: string
  /** The key of who emitted it, in hex. */
  peer: string
}

/** A listener to what consumers emit to a service. */
// biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
export type EmittedListener = (data: any, by: EmittedBy) => void

export interface EventsOptions extends EventRingOptions {
  denialOf: Denial
  onnotice: (notice: SeaportError) => void
}

/** The largest body of an event. It fits a frame together with its type. */
export const MAX_EVENT_BYTES = 60 * 1024
/** The command whose right to call is the right to hear events. */
export const EVENTS_RIGHT = '$events'
/** How many subscriptions one key may have at a time. */
const MAX_SUBSCRIPTIONS = 256

/** The events that a service emits to all listeners, and those that consumers emit to it. */
export class Events {
  readonly stats = { emitted: 0, subscribers: 0, dropped: 0 }
  readonly #options: EventsOptions
  readonly #ring: EventRing
  readonly #subscribers = new Set<Subscriber>()
  readonly #listeners = new Map<string, Set<EmittedListener>>()
  readonly #types = new Map<string, number>()
  #isLeaving = false

  /** @internal */
  constructor(options: EventsOptions) {
    this.#options = options
    this.#ring = new EventRing(options)
  }

  /**
   * Emits an event to all listeners, and to those who come back soon. It waits for nobody.
   *
   * @param data JSON or bytes, of at most 60 KiB
   * @throws USAGE if the type is not a valid name, BAD_OUTPUT if the data cannot be serialized, TOO_LARGE
   */
  emit(type: string, data?: unknown) {
    this.#add(checkOwnName(type, 'an event'), eventBody(type, data))
    this.stats.emitted++
    if (this.#types.size < MAX_TYPES || this.#types.has(type)) {
      this.#types.set(type, (this.#types.get(type) ?? 0) + 1)
    }
  }

  /** @internal Emits an event of one of hyperseaport's own types. */
  emitOwn(type: string, data: JsonText) {
    this.#add(type, encodeBody(data))
  }

  /**
   * Listens to what consumers emit to this service, of one type or of all (`*`).
   *
   * @throws USAGE
   */
  on(type: string, listener: EmittedListener): this {
    if (type !== '*') checkName(type, 'an event')
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(listener))
    return this
  }

  off(type: string, listener: EmittedListener): this {
    this.#listeners.get(type)?.delete(listener)
    return this
  }

  /** How many were emitted of each type. */
  types(): Record<string, number> {
    return Object.fromEntries(this.#types)
  }

  /** @internal Delivers what a consumer emitted to the listeners. */
  take(type: string, body: Body, peer: string) {
    const listeners = [...(this.#listeners.get(type) ?? []), ...(this.#listeners.get('*') ?? [])]
    for (const listener of listeners) {
      try {
        listener(decodeBody(body), { type, peer })
      } catch (error) {
        const text = `a listener to what is emitted has thrown: ${messageOf(error)}`
        this.#options.onnotice(SeaportError.COMMAND_FAILED(text, error))
      }
    }
  }

  /** @internal Takes the stream of a listener. */
  subscribe(stream: LinkStream, key: Buffer) {
    const peer = toHex(key)
    if (this.#countOf(peer) >= MAX_SUBSCRIPTIONS) {
      stream.destroy(SeaportError.LIMIT_REACHED(`${MAX_SUBSCRIPTIONS} subscriptions of one key`))
      return
    }
    const subscriber: Subscriber = new Subscriber(stream, {
      peer,
      ring: this.#ring,
      denialOf: (type) => this.#options.denialOf(peer, type === STATE ? STATE : EVENTS_RIGHT),
      onclose: (reason) => {
        this.#subscribers.delete(subscriber)
        this.stats.subscribers--
        this.stats.dropped += subscriber.dropped
        if (reason?.code === 'BAD_MESSAGE') this.#options.onnotice(reason)
      }
    })
    this.#subscribers.add(subscriber)
    this.stats.subscribers++
    if (this.#isLeaving) subscriber.leave()
  }

  /** @internal */
  leave() {
    this.#isLeaving = true
    for (const subscriber of this.#subscribers) subscriber.leave()
  }

  /** @internal Rights have changed. */
  recheck() {
    for (const subscriber of this.#subscribers) subscriber.recheck()
  }

  #add(type: string, body: Body) {
    const event = this.#ring.add(type, body)
    for (const subscriber of this.#subscribers) subscriber.send(event)
  }

  #countOf(peer: string): number {
    let count = 0
    for (const subscriber of this.#subscribers) if (subscriber.peer === peer) count++
    return count
  }
}

const MAX_TYPES = 1024

/**
 * Encodes the body of an event.
 *
 * @throws BAD_OUTPUT, TOO_LARGE
 */
export function eventBody(type: string, data: unknown): Body {
  let body: Body
  try {
    body = encodeBody(data)
  } catch (error) {
    throw SeaportError.BAD_OUTPUT(`the event ${type} cannot be sent: ${messageOf(error)}`, error)
  }
  const { byteLength } = body.bytes
  if (byteLength <= MAX_EVENT_BYTES) return body
  throw SeaportError.TOO_LARGE(
    `the event ${type} has ${byteLength} bytes, at most ${MAX_EVENT_BYTES} are allowed`
  )
}
