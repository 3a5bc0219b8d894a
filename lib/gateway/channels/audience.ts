import { CHANNEL } from '../../core/purpose.js'
import type { Place } from '../../messaging/clients/channel-frames.js'
import { FROM_START } from '../../messaging/clients/gateway-stream.js'
import { byRendezvous } from '../../messaging/clients/rendezvous.js'
import type { Upstream } from '../upstream.js'
import type { Browser } from './browser.js'
import type { Feed } from './feed.js'

export interface AudienceOptions {
  /** The feed of an instance, which is to be released. */
  take: (key: string, isNewcomer: boolean) => Feed
  release: (feed: Feed) => void
}

/** How far a browser has heard each instance, by what it calls that. */
export type Places = Record<string, [epoch: number, seq: number]>

/** How long one instance that cannot be reached may keep a browser waiting that others could let in, in ms. */
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

  /** The instances that can be asked now. */
  get openKeys(): string[] {
    return [...this.#feeds.values()].filter(({ isOpen }) => isOpen).map(({ key }) => key)
  }

  /** Hears the instances that have come, and those no more that have gone. */
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

  /** Resolves when all instances are heard, or some are and the others cannot be reached so soon, or none after all. */
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

  /** A feed, perhaps one of ours, is open. */
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

  /** Says again that it is here: what is known of it has changed. */
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

  /** Who is responsible for a client, of those who can be asked. */
  homeOf(id: string): Feed | null {
    const [key = ''] = byRendezvous(id, this.openKeys)
    return this.#feeds.get(key) ?? null
  }

  close() {
    for (const feed of this.#feeds.values()) this.#options.release(feed)
    this.#feeds.clear()
  }
}

/** Of an instance that it has not heard before, all that there is was missed. */
function placeIn(places: Places, name: string): Place {
  const [epoch, seq] = places[name] ?? []
  return epoch === undefined || seq === undefined ? FROM_START : { epoch, seq }
}
