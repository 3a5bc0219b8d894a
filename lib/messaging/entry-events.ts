import { SeaportError } from '../core/errors.js'
import { messageOf } from '../core/thrown.js'
import { decodeBody } from './body.js'
import { EVENTS } from './conversation.js'
import type { Cursor } from './frames.js'
import { checkName, OWN_PREFIX } from './names.js'
import { type HeardEvent, Subscription, type SubscriptionOptions } from './subscription.js'

/** Where an event comes from, and how much was lost before it. */
export interface EventOrigin {
  type: string
  /** The key of the instance, in hex. */
  instance: string
  version: string
  /** When the instance was started, by its clock: it counts its events from 1 then. */
  epoch: number
  seq: number
  /** How many events of the wanted types were lost between the one before and this one. */
  missed: number
}

// biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
export type EventListener = (data: any, origin: EventOrigin) => void

/** How far the events of each instance were heard, by the instance's key. */
export type Cursors = Record<string, Cursor>

export interface ListenOptions {
  /**
   * Where to go on: events since then are delivered as far as the instances still have them, and `missed` counts those
   * they do not.
   */
  after?: Cursors | undefined
}

/** Is told of the streams that bring events. Keys are those of instances, in hex. */
export interface StreamListener {
  /** The instance delivers the wanted events from now on. Called again after a lost link. */
  onsubscribed(key: string): void
  /** The instance denies some of the wanted types. */
  ondenied(key: string, reason: SeaportError): void
  /** The instances may have changed. */
  oninstances(): void
}

/** An instance whose events can be heard. */
interface Audible {
  servicePublicKey: string
  version: string
  speaks?: readonly string[]
}

export interface EntryEventsOptions {
  pool: SubscriptionOptions['pool']
  instances: () => readonly Audible[]
  /** Calls the listener whenever the instances may have changed. */
  watch: (listener: () => void) => () => void
  backoffs?: readonly number[] | undefined
  /** How long a withdrawn instance is still listened to if it does not end the stream itself, in ms. */
  leaveTimeout?: number | undefined
  onnotice: (notice: SeaportError) => void
}

interface Followed {
  subscription: Subscription
  version: string
  isSubscribed: boolean
  /** The instance leaves, and is listened to until it has ended. */
  isLeaving: boolean
}

/** How many instances are listened to at a time. */
const MAX_FOLLOWED = 1024
/** For how many instances that are gone it is remembered how far they were heard, should they come back. */
const MAX_REMEMBERED = 1024

const FROM_NOW_ON = null
/**
 * The place for an instance that comes while we listen: it begins with the oldest event that the instance has, so that
 * none is lost.
 */
const FROM_ITS_START: Cursor = { epoch: 0, seq: 0 }

/** The events of all instances of a role, including those that come later. */
export class EntryEvents {
  readonly #options: EntryEventsOptions
  /** Lists are replaced and never changed, because a listener may add or remove one while they are walked through. */
  readonly #listeners = new Map<string, readonly EventListener[]>()
  readonly #followed = new Map<string, Followed>()
  readonly #remembered = new Map<string, Cursor>()
  readonly #waiting = new Set<() => void>()
  readonly #streamListeners = new Set<StreamListener>()
  #stop: (() => void) | null = null
  #isClosed = false

  /** @internal */
  constructor(options: EntryEventsOptions) {
    this.#options = options
  }

  /**
   * Listens to the events of one type, or of all (`*`).
   *
   * @throws USAGE for a type that is no name, or a cursor that cannot be one; CLOSED
   */
  on(type: string, listener: EventListener, { after = {} }: ListenOptions = {}): this {
    if (type !== '*') checkName(type, 'an event')
    if (this.#isClosed) throw SeaportError.CLOSED('the consumer was closed')
    for (const [key, cursor] of Object.entries(after)) this.#remember(key, checkedCursor(cursor))
    const isNew = !this.#listeners.has(type)
    const listeners = this.#listeners.get(type) ?? []
    if (!listeners.includes(listener)) this.#listeners.set(type, [...listeners, listener])
    if (!this.#stop) this.#start()
    else if (isNew) this.#updateAll()
    return this
  }

  /** Removes a listener. After the last one instances send nothing any more. */
  off(type: string, listener: EventListener): this {
    const listeners = this.#listeners.get(type) ?? []
    const others = listeners.filter((other) => other !== listener)
    if (others.length === listeners.length) return this
    if (others.length > 0) {
      this.#listeners.set(type, others)
      return this
    }
    this.#listeners.delete(type)
    if (this.#listeners.size > 0) this.#updateAll()
    else this.#end()
    return this
  }

  /** Resolves once all instances that are known now deliver events, or have refused to. */
  async ready(): Promise<void> {
    while (this.#stop && [...this.#followed.values()].some(({ isSubscribed }) => !isSubscribed)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** How far each instance was heard, for the option `after`. */
  cursors(): Cursors {
    const cursors: Cursors = Object.fromEntries(this.#remembered)
    for (const [key, { subscription }] of this.#followed) {
      if (subscription.cursor) cursors[key] = { ...subscription.cursor }
    }
    return cursors
  }

  /** @internal To be called before `on`. */
  onStreams(listener: StreamListener) {
    this.#streamListeners.add(listener)
  }

  /** @internal */
  close() {
    this.#isClosed = true
    this.#end()
  }

  #start() {
    this.#stop = this.#options.watch(() => this.#follow(FROM_ITS_START))
    this.#follow(FROM_NOW_ON)
  }

  #end() {
    this.#stop?.()
    this.#stop = null
    for (const key of [...this.#followed.keys()]) this.#leave(key)
    this.#tell()
  }

  /** Begins to listen to instances that have come, and stops for those that have gone. */
  #follow(from: Cursor | null) {
    const audible = new Map(
      this.#options
        .instances()
        .filter(({ speaks }) => speaks?.includes(EVENTS))
        .slice(0, MAX_FOLLOWED)
        .map((instance) => [instance.servicePublicKey, instance])
    )
    for (const [key, followed] of [...this.#followed]) {
      if (audible.has(key) ? followed.isLeaving : !followed.isSubscribed) this.#leave(key)
      else if (!audible.has(key)) this.#finish(key, followed)
    }
    for (const [key, instance] of audible) {
      const followed = this.#followed.get(key)
      if (followed) followed.version = instance.version
      else this.#listenTo(instance, from)
    }
    for (const listener of this.#streamListeners) listener.oninstances()
    this.#tell()
  }

  #listenTo({ servicePublicKey: key, version }: Audible, from: Cursor | null) {
    const { pool, backoffs, onnotice } = this.#options
    const subscription = new Subscription({
      pool,
      backoffs,
      remotePublicKey: Buffer.from(key, 'hex'),
      after: this.#remembered.get(key) ?? from,
      types: () => this.#types,
      onevent: (event) => this.#onevent(key, event),
      onsubscribed: () => {
        followed.isSubscribed = true
        for (const listener of this.#streamListeners) listener.onsubscribed(key)
        this.#tell()
      },
      ondenied: (reason) => {
        // An instance that denies us counts as settled, or `ready` would never resolve.
        followed.isSubscribed = true
        for (const listener of this.#streamListeners) listener.ondenied(key, reason)
        this.#tell()
        onnotice(reason)
      }
    })
    const followed: Followed = { subscription, version, isSubscribed: false, isLeaving: false }
    this.#remembered.delete(key)
    this.#followed.set(key, followed)
    subscription.open()
  }

  #finish(key: string, followed: Followed) {
    if (followed.isLeaving) return
    followed.isLeaving = true
    followed.subscription.finish(() => {
      if (this.#followed.get(key) === followed) this.#leave(key)
    }, this.#options.leaveTimeout)
  }

  #leave(key: string) {
    const followed = this.#followed.get(key)
    if (!followed) return
    this.#followed.delete(key)
    const { cursor } = followed.subscription
    if (cursor) this.#remember(key, cursor)
    followed.subscription.close()
  }

  #remember(key: string, cursor: Cursor) {
    this.#remembered.delete(key)
    this.#remembered.set(key, cursor)
    const [oldest] = this.#remembered.keys()
    if (this.#remembered.size > MAX_REMEMBERED && oldest) this.#remembered.delete(oldest)
  }

  #onevent(instance: string, event: HeardEvent) {
    const { name } = event
    this.#call(this.#listeners.get(name), instance, event)
    if (!name.startsWith(OWN_PREFIX)) this.#call(this.#listeners.get('*'), instance, event)
  }

  /** Calls the listeners, each with a copy of the data of its own. */
  #call(
    listeners: readonly EventListener[] = [],
    instance: string,
    { name: type, body, epoch, seq, missed }: HeardEvent
  ) {
    for (const listener of listeners) {
      const version = this.#followed.get(instance)?.version ?? ''
      try {
        listener(decodeBody(body), { type, instance, version, epoch, seq, missed })
      } catch (error) {
        const text = `a listener to events has thrown: ${messageOf(error)}`
        this.#options.onnotice(SeaportError.COMMAND_FAILED(text, error))
      }
    }
  }

  /** The types to ask for. An instance takes 64 of them; if there are more, all events are asked for. */
  get #types(): string[] {
    const types = [...this.#listeners.keys()]
    if (!types.includes('*') && types.length <= MAX_ASKED_TYPES) return types
    return ['*', ...types.filter((type) => type.startsWith(OWN_PREFIX))]
  }

  #updateAll() {
    for (const { subscription } of this.#followed.values()) subscription.update()
  }

  #tell() {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

const MAX_ASKED_TYPES = 64
const MAX_COUNT = 2 ** 48 - 1

/** @throws USAGE */
function checkedCursor(cursor: Cursor): Cursor {
  const { epoch, seq } = cursor ?? {}
  const areCounts = [epoch, seq].every((count) => Number.isInteger(count) && count >= 0)
  if (areCounts && Math.max(epoch, seq) <= MAX_COUNT) return { epoch, seq }
  throw SeaportError.USAGE(`a cursor has an epoch and a seq, not ${JSON.stringify(cursor)}`)
}
