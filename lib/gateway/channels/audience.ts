import { CHANNEL } from '../../core/purpose.js'
import type { ChannelHead, Place } from '../../messaging/clients/channel-frames.js'
import { FROM_START } from '../../messaging/clients/gateway-stream.js'
import { byRendezvous } from '../../messaging/clients/rendezvous.js'
import type { Upstream } from '../upstream.js'
import type { Browser } from './browser.js'
import type { Feed } from './feed.js'

export interface AudienceOptions {
  /** Gives the feed of an instance. Whoever takes it has to release it. */
  take: (key: string, isNewcomer: boolean) => Feed
  release: (feed: Feed) => void
}

/** How far a browser has heard each instance, by the name that browsers know the instance by. */
export type Places = Record<string, [epoch: number, seq: number]>

/** How long to wait for an instance that cannot be reached while others could admit the browser, in ms. */
const OTHERS_TIMEOUT_MS = 1000
const READY_TIMEOUT_MS = 10_000

/** The browsers that are connected to one target, and the feeds of all instances that serve it. */
export class Audience {
  readonly upstream: Upstream
  readonly #options: AudienceOptions
  readonly #browsers = new Set<Browser>()
  readonly #feeds = new Map<string, Feed>()
  readonly #waiting = new Set<() => void>()
  #isBegun = false

  constructor(upstream: Upstream, options: AudienceOptions) {
    this.upstream = upstream
    this.#options = options
  }

  get size(): number {
    return this.#browsers.size
  }

  /** Keys of the instances whose feeds are open. */
  get openKeys(): string[] {
    return [...this.#feeds.values()].filter(({ isOpen }) => isOpen).map(({ key }) => key)
  }

  /** Takes feeds of instances that have come, and releases those of instances that have gone. */
  refresh() {
    const keys = new Set(
      this.upstream
        .instances()
        .filter(({ speaks }) => speaks.includes(CHANNEL))
        .map(({ servicePublicKey }) => servicePublicKey)
    )
    for (const [key, feed] of [...this.#feeds]) {
      if (keys.has(key)) continue
      this.#feeds.delete(key)
      if (feed.users === 1) this.#options.release(feed)
      for (const browser of this.#browsers) {
        feed.detach(browser, null)
        browser.repeat(feed)
      }
      if (feed.users > 1) this.#options.release(feed)
    }
    for (const key of keys) {
      if (this.#feeds.has(key)) continue
      const feed = this.#options.take(key, this.#isBegun)
      this.#feeds.set(key, feed)
      for (const browser of this.#browsers) feed.attach(browser, null)
    }
    this.#isBegun = true
  }

  /**
   * Resolves when all feeds are open, or some are and the others took too long. It also resolves if none opens in time.
   */
  async ready(): Promise<void> {
    const beganAt = performance.now()
    for (;;) {
      const open = this.openKeys.length
      const waited = performance.now() - beganAt
      if (open === this.#feeds.size || waited >= READY_TIMEOUT_MS) return
      if (open > 0 && waited >= OTHERS_TIMEOUT_MS) return
      const timeout = waited < OTHERS_TIMEOUT_MS ? OTHERS_TIMEOUT_MS : READY_TIMEOUT_MS
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer)
          this.#waiting.delete(done)
          resolve()
        }
        const timer = setTimeout(done, timeout - waited)
        this.#waiting.add(done)
      })
    }
  }

  /** Called when any feed of the gateway has opened; it may be one of ours. */
  onopen(feed: Feed) {
    if (this.#feeds.get(feed.key) !== feed) return
    for (const done of [...this.#waiting]) done()
    for (const browser of this.#browsers) {
      browser.repeat(feed)
      const place = feed.placeOf(browser)
      if (place) browser.tell({ t: 'at', at: { [feed.name]: [place.epoch, place.seq] } })
    }
  }

  /** @param places where it was before; null if it comes for the first time */
  add(browser: Browser, places: Places | null) {
    this.#browsers.add(browser)
    for (const feed of this.#feeds.values()) {
      feed.attach(browser, places && placeIn(places, feed.name))
    }
  }

  remove(browser: Browser, how: 'bye' | 'lost' | null) {
    this.#browsers.delete(browser)
    for (const feed of this.#feeds.values()) feed.detach(browser, how)
  }

  /** Tells the instances again that a browser is here, because what is known of it has changed. */
  announce(browser: Browser) {
    for (const feed of this.#feeds.values()) feed.announce(browser)
  }

  placesOf(browser: Browser): Places {
    const places: Places = {}
    for (const feed of this.#feeds.values()) {
      const place = feed.placeOf(browser)
      if (place) places[feed.name] = [place.epoch, place.seq]
    }
    return places
  }

  /** Sends something to the instance that browsers know by a name. */
  sendTo(name: unknown, head: ChannelHead) {
    for (const feed of this.#feeds.values()) if (feed.name === name) feed.send(head)
  }

  /** The feed of the instance that is responsible for a client, among those that are open. */
  homeOf(id: string): Feed | null {
    const [key = ''] = byRendezvous(id, this.openKeys)
    return this.#feeds.get(key) ?? null
  }

  close() {
    for (const feed of this.#feeds.values()) this.#options.release(feed)
    this.#feeds.clear()
  }
}

/** If it has not heard the instance before, it missed all that the instance has. */
function placeIn(places: Places, name: string): Place {
  const [epoch, seq] = places[name] ?? []
  return epoch === undefined || seq === undefined ? FROM_START : { epoch, seq }
}
