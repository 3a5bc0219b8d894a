import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { SeaportError } from '../../core/errors.js'
import type { LastingStreamOptions } from '../../link/lasting-stream.js'
import type { Body } from '../../messaging/body.js'
import { byRendezvous } from '../../messaging/clients/rendezvous.js'
import { readTicket } from '../../messaging/clients/ticket.js'
import type { Directory } from '../../registry/replica/directory.js'
import type { AccessList, Principal } from '../access.js'
import type { InstanceViews } from '../instance-views.js'
import type { Upstream } from '../upstream.js'
import { Audience } from './audience.js'
import { Browser, type BrowserOptions } from './browser.js'
import { CHANNEL_LIMITS, type ChannelLimits } from './channel-limits.js'
import { Feed } from './feed.js'
import { type Resume, readResume } from './resume.js'
import { CLOSE, MAX_WIRE_BYTES, SUBPROTOCOL, type WireFrame } from './wire.js'

export interface ChannelsOptions {
  pool: LastingStreamOptions['pool']
  directory: Directory
  views: InstanceViews
  /** Executes a command of a service. */
  call: (upstream: Upstream, command: string, body: Body, principal: Principal) => Promise<Body>
  limits?: Partial<ChannelLimits> | undefined
}

/** A page that asks for a channel. */
export interface Visit {
  request: IncomingMessage
  socket: Duplex
  /** The client address that its limits count for. */
  client: string
  /**
   * Resolves its target, once the page has said who it is.
   *
   * @throws an error if it may not go there
   */
  enter: (access: string | undefined) => Promise<{ upstream: Upstream; principal: Principal }>
  /** Whether a principal still has the rights that it entered with. */
  isCurrent: (principal: Principal) => boolean
}

interface Place {
  audience: Audience
  principal: Principal
}

const NAME_BYTES = 16
const SESSION_BYTES = 16
/** How many sweeps there are in one ping interval. */
const SWEEPS_PER_PING = 5

/** The pages that have a WebSocket to this gateway, each with the services that it is connected to. */
export class Channels {
  readonly stats = { sessions: 0, refused: 0, unread: 0, silent: 0 }
  readonly #options: ChannelsOptions
  readonly #limits: ChannelLimits
  readonly #gateway = randomBytes(NAME_BYTES).toString('hex')
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MAX_WIRE_BYTES,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false)
  })
  readonly #audiences = new Map<Upstream, Audience>()
  readonly #feeds = new Map<string, Feed>()
  readonly #places = new Map<Browser, Place>()
  readonly #bySession = new Map<string, Browser>()
  readonly #visitors = new Set<Browser>()
  /** Of those that were not admitted yet. A request takes much memory, so nothing refers to it afterwards. */
  readonly #visits = new Map<Browser, Visit>()
  readonly #ofBrowsers: BrowserOptions
  readonly #perAddress = new Map<string, number>()
  #sweeper: NodeJS.Timeout | null = null
  #stopWatching: () => void = () => {}
  #isClosed = false

  constructor(options: ChannelsOptions) {
    this.#options = options
    this.#limits = { ...CHANNEL_LIMITS, ...options.limits }
    this.#ofBrowsers = {
      limits: this.#limits,
      onconnect: (browser, frame) => void this.#admit(browser, frame),
      homeOf: (browser) => this.#places.get(browser)?.audience.homeOf(browser.id) ?? null,
      call: (browser, command, body) => {
        const { audience, principal } = this.#places.get(browser) as Place
        return options.call(audience.upstream, command, body, principal)
      },
      onunread: () => this.stats.unread++,
      onrooms: (browser) => this.#places.get(browser)?.audience.announce(browser),
      ongot: (browser, instance, key) => {
        const { session } = browser
        this.#places.get(browser)?.audience.sendTo(instance, { t: 'got', session, key })
      },
      onclose: (browser, how) => this.#onclose(browser, how)
    }
  }

  /**
   * Takes the WebSocket of a page.
   *
   * @throws BAD_REQUEST for what is no WebSocket of this protocol
   */
  take(visit: Visit) {
    const { request, socket } = visit
    const offered = String(request.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/)
    if (!offered.includes(SUBPROTOCOL)) {
      throw SeaportError.BAD_REQUEST(`a channel is a WebSocket that speaks ${SUBPROTOCOL}`)
    }
    this.#server.handleUpgrade(request, socket, Buffer.alloc(0), (webSocket) => {
      this.#begin(webSocket, visit)
    })
  }

  /** Ends all channels with a code after which pages connect to another gateway. */
  close() {
    this.#isClosed = true
    for (const browser of [...this.#visitors]) browser.close(CLOSE.LEAVING)
  }

  /** Ends the channels of those whose rights have changed. Their pages come back, and are admitted or refused. */
  recheck(access: Pick<AccessList, 'isCurrent'>) {
    for (const [browser, { principal }] of [...this.#places]) {
      if (!access.isCurrent(principal)) browser.close(CLOSE.LEAVING)
    }
  }

  /** Gives up what is left. Call it when all pages have left. */
  destroy() {
    if (this.#sweeper) clearInterval(this.#sweeper)
    this.#stopWatching()
    for (const feed of this.#feeds.values()) feed.close()
    this.#feeds.clear()
  }

  #begin(webSocket: WebSocket, visit: Visit) {
    const { socket, client } = visit
    const count = this.#perAddress.get(client) ?? 0
    const browser = new Browser({ socket: webSocket, connection: socket, client }, this.#ofBrowsers)
    this.#visits.set(browser, visit)
    this.#visitors.add(browser)
    this.#perAddress.set(client, count + 1)
    this.stats.sessions++
    const { sessions, sessionsPerAddress } = this.#limits
    if (this.#isClosed) browser.close(CLOSE.LEAVING)
    else if (this.#visitors.size > sessions || count >= sessionsPerAddress) {
      browser.close(CLOSE.TRY_LATER)
    } else this.#watch()
  }

  /** Asks instances to admit a page, or ends its connection. Never rejects. */
  async #admit(browser: Browser, { head }: WireFrame) {
    const { request, enter, isCurrent } = this.#visits.get(browser) as Visit
    this.#visits.delete(browser)
    const { origin } = request.headers
    try {
      const access = typeof head.access === 'string' ? head.access : undefined
      const { upstream, principal } = await enter(access)
      const audience = this.#audienceOf(upstream)
      await audience.ready()
      const resume = readResume(head.resume)
      const session = randomBytes(SESSION_BYTES).toString('hex')
      const asked = {
        session,
        token: head.token,
        viewer: principal.isAnonymous ? undefined : principal.name,
        origin,
        ...(resume && { ticket: resume.ticket, secret: resume.secret })
      }
      for (const key of byRendezvous(session, audience.openKeys)) {
        const admitted = await this.#feeds.get(key)?.connect(asked)
        if (admitted === 'refused') throw SeaportError.NOT_ALLOWED('the service refused it')
        if (!admitted) continue
        if (!isCurrent(principal)) browser.close(CLOSE.LEAVING)
        if (browser.isClosed) return this.#forgetIfUnused(audience)
        const isResumed = admitted.resumed === 1
        return this.#enter(browser, { audience, principal }, admitted, isResumed, resume)
      }
      throw SeaportError.NO_INSTANCE('no instance could be asked')
    } catch (error) {
      this.stats.refused++
      const isAway = error instanceof SeaportError && error.code === 'NO_INSTANCE'
      browser.close(isAway ? CLOSE.TRY_LATER : CLOSE.REFUSED)
    }
  }

  #enter(
    browser: Browser,
    place: Place,
    { ticket: text, secret, rooms }: { ticket: string; secret: string; rooms?: unknown },
    isResumed: boolean,
    resume: Resume | null
  ) {
    const ticket = readTicket(text)
    this.#bySession.get(ticket.session)?.replace()
    browser.begin(text, ticket, rooms)
    this.#bySession.set(ticket.session, browser)
    this.#places.set(browser, place)
    const { audience } = place
    const at = isResumed ? (resume?.at ?? {}) : null
    const { id, session } = ticket
    const known = at ?? audience.placesOf(browser)
    browser.tell({
      ...{ t: 'connected', id, session, ticket: text, secret, resumed: isResumed, at: known }
    })
    // Its earlier session is not known any more, so nobody can tell what it missed.
    if (resume && !isResumed) browser.tellMissed()
    audience.add(browser, at)
  }

  #audienceOf(upstream: Upstream): Audience {
    const known = this.#audiences.get(upstream)
    if (known) return known
    const audience = new Audience(upstream, {
      take: (key, isNewcomer) => this.#takeFeed(key, isNewcomer),
      release: (feed) => {
        feed.users--
        if (feed.users > 0) return
        this.#feeds.delete(feed.key)
        feed.close()
      }
    })
    this.#audiences.set(upstream, audience)
    audience.refresh()
    return audience
  }

  #takeFeed(key: string, isNewcomer: boolean): Feed {
    const { pool, views } = this.#options
    let feed = this.#feeds.get(key)
    if (!feed) {
      feed = new Feed({
        pool,
        key,
        name: views.idOf(key),
        gateway: this.#gateway,
        isNewcomer,
        browserOf: (session) => this.#bySession.get(session),
        onopen: (feed) => {
          for (const audience of this.#audiences.values()) audience.onopen(feed)
        }
      })
      this.#feeds.set(key, feed)
    }
    feed.users++
    return feed
  }

  #onclose(browser: Browser, how: 'bye' | 'lost' | null) {
    this.#visits.delete(browser)
    this.#visitors.delete(browser)
    this.stats.sessions--
    const count = (this.#perAddress.get(browser.client) ?? 1) - 1
    if (count > 0) this.#perAddress.set(browser.client, count)
    else this.#perAddress.delete(browser.client)
    const place = this.#places.get(browser)
    if (!place) return
    this.#places.delete(browser)
    if (this.#bySession.get(browser.session) === browser) this.#bySession.delete(browser.session)
    place.audience.remove(browser, how)
    this.#forgetIfUnused(place.audience)
  }

  #forgetIfUnused(audience: Audience) {
    if (audience.size > 0) return
    if (this.#audiences.get(audience.upstream) === audience) {
      this.#audiences.delete(audience.upstream)
    }
    audience.close()
  }

  #watch() {
    if (this.#sweeper) return
    const { pingInterval } = this.#limits
    this.#sweeper = setInterval(() => this.#sweep(), pingInterval / SWEEPS_PER_PING)
    this.#sweeper.unref()
    this.#stopWatching = this.#options.directory.watch(() => {
      for (const audience of this.#audiences.values()) audience.refresh()
    })
  }

  /**
   * Pings the browsers whose ping is due, with how far they have heard, and cuts those that were silent for too long.
   */
  #sweep() {
    const now = performance.now()
    const { pingInterval, silence } = this.#limits
    for (const [browser, { audience }] of this.#places) {
      if (now - browser.lastHeard > silence) {
        this.stats.silent++
        browser.cut()
      } else if (now - browser.lastPing >= pingInterval) browser.ping(audience.placesOf(browser))
    }
  }
}
