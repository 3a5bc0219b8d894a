import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { CHANNEL } from '../../core/purpose.js'
import type { LinkStream } from '../../link/stream.js'
import { checkName } from '../names.js'
import type { Listening } from '../speaker.js'
import type {
  ChannelFrame,
  ConnectHead,
  EventHead,
  HereHead,
  MessageHead
} from './channel-frames.js'
import { ChannelRing, type ChannelRingOptions, type KeptMessage } from './channel-ring.js'
import { ClientHandlers } from './client-handlers.js'
import { type Client, ClientSession } from './client-session.js'
import type {
  BroadcastOptions,
  ClientAct,
  ClientsListeners,
  ClientView,
  ConnectHandler
} from './client-types.js'
import { checkFinalCode, REPLACED, SENT_AWAY } from './close-codes.js'
import { GatewayStream } from './gateway-stream.js'
import { KeptDirects, type KeptDirectsLimits } from './kept-directs.js'
import { bodyOf } from './message-body.js'
import { PresenceTeller } from './presence-teller.js'
import { byRendezvous } from './rendezvous.js'
import { SessionTable } from './session-table.js'
import {
  checkAdmitted,
  checkFilter,
  checkId,
  isSecretOf,
  type Ticket,
  type TicketScope
} from './ticket.js'
import { Tickets } from './tickets.js'

export interface ClientsOptions extends ChannelRingOptions {
  /** How long a session that was lost may come back, in ms. Default: 60 s. */
  window?: number | undefined
  /** How much is kept on disk for clients that are away. */
  kept?: KeptDirectsLimits | undefined
}

export interface ClientsParts extends ClientsOptions {
  scope: TicketScope
  /** The keys, in hex, of the instances of the role that are there. */
  instances: () => string[]
  isInstance: (key: string) => boolean
  onnotice: (notice: SeaportError) => void
  /** Called when clients are first used. */
  onwanted: () => void
}

const WINDOW_MS = 60_000
const MAX_SESSIONS_PER_ID = 100

/** The browsers that are connected to a service, through whichever gateways. */
export class Clients {
  readonly #stats = { gateways: 0, sessions: 0, connected: 0, refused: 0, messages: 0, sent: 0 }
  readonly #parts: ClientsParts
  readonly #ring: ChannelRing
  readonly #gateways = new Set<GatewayStream>()
  readonly #sessions = new SessionTable()
  readonly #kept: KeptDirects
  readonly #presence: PresenceTeller
  readonly #handlers: ClientHandlers
  readonly #tickets: Tickets
  #isWanted = false
  #isListening = false
  #isLeaving = false

  /** @internal */
  constructor(parts: ClientsParts) {
    this.#parts = parts
    this.#handlers = new ClientHandlers(parts.onnotice)
    this.#tickets = new Tickets(parts)
    this.#ring = new ChannelRing(parts)
    this.#presence = new PresenceTeller({
      sessions: this.#sessions,
      handlers: this.#handlers,
      isResponsibleFor: (id) => this.#isResponsibleFor(id),
      send: (event, data) => this.#send(event, data)
    })
    this.#kept = new KeptDirects({
      ...parts.kept,
      deliver: (id, { key, type, body }) => {
        for (const { session, stream } of this.#sessions.of(id)) {
          stream?.send({ t: 'kept', session, key, type }, body)
        }
      },
      isHere: (id) => this.#sessions.presenceOf(id).sessions > 0,
      onnotice: parts.onnotice
    })
  }

  /** Counters. */
  get stats() {
    return { ...this.#stats, ...this.#kept.stats }
  }

  /** @internal Marks the clients as used, and returns them. */
  wanted(): this {
    if (this.#isWanted) return this
    this.#isWanted = true
    this.#parts.onwanted()
    return this
  }

  /** @throws USAGE if `connect` or `message` has a handler already */
  on<E extends keyof ClientsListeners>(event: E, listener: ClientsListeners[E]): this {
    this.#handlers.add(event, listener)
    return this
  }

  /**
   * Lets clients do something to others: broadcast, write to an id, or hear of presence. By default they may do none of
   * these.
   *
   * @param may decides whether a client may; default: all may
   */
  allow(act: ClientAct, may: (client: Client) => boolean = () => true): this {
    this.#handlers.allow(act, may)
    return this
  }

  /**
   * Sends a message to all clients, including those who come back soon. It waits for nobody.
   *
   * @param data JSON or bytes, of at most 1 MiB
   * @throws USAGE, BAD_OUTPUT, TOO_LARGE
   */
  broadcast(type: string, data?: unknown, { filter, room }: BroadcastOptions = {}) {
    checkFilter(filter)
    this.#send({ kind: 'broadcast', type: checkName(type, 'a message'), filter, room }, data)
  }

  /**
   * Sends a message to all sessions of one client, including those who come back soon.
   *
   * With `ttl` it is also kept on disk for a client that is away, for so many ms and 30 days at most, until one of its
   * pages has it: 100 messages for one client, and 64 MiB in all. It is on disk when the promise resolves.
   *
   * @returns how many sessions are connected now
   * @throws USAGE, BAD_OUTPUT, TOO_LARGE; with `ttl` also LIMIT_REACHED, STORAGE_FAILED, CLOSED
   */
  direct(id: string, type: string, data?: unknown, options?: { ttl?: undefined }): number
  direct(id: string, type: string, data: unknown, options: { ttl: number }): Promise<number>
  direct(
    id: string,
    type: string,
    data?: unknown,
    { ttl }: { ttl?: number | undefined } = {}
  ): number | Promise<number> {
    if (ttl !== undefined) return this.#keep(id, type, data, ttl)
    this.#send({ kind: 'direct', type: checkName(type, 'a message'), id: checkId(id) }, data)
    return this.#sessions.presenceOf(id).sessions
  }

  async #keep(id: string, type: string, data: unknown, ttl: number): Promise<number> {
    const body = bodyOf(checkName(type, 'a message'), data)
    await this.#kept.add(checkId(id), type, body, ttl)
    return this.#sessions.presenceOf(id).sessions
  }

  /**
   * Ends all sessions of a client; its page does not come back by itself.
   *
   * @throws USAGE for a code that is neither 4000 nor from 4100 to 4999
   */
  disconnect(id: string, code = SENT_AWAY) {
    checkFinalCode(code)
    for (const session of [...this.#sessions.of(id)]) {
      session.stream?.send({ t: 'close', session: session.session, code })
      this.#end(session)
    }
  }

  /** All clients that are connected, or away and may come back; those in a room, if one is given. */
  list({ room }: { room?: string | undefined } = {}): ClientView[] {
    return this.#sessions.list(room)
  }

  /** @internal */
  sessionOf(name: string): Client | undefined {
    return this.#sessions.get(name)
  }

  /**
   * @internal
   * @param folder for messages that are kept
   * @throws STORAGE_FAILED
   */
  async open(keyPair: KeyPair, folder: string) {
    this.#tickets.signBy(keyPair)
    await this.#kept.open(folder)
  }

  /** @internal @returns whether it takes streams from now on and did not before */
  listen(listening: Listening): boolean {
    if (!this.#isWanted || this.#isListening) return false
    this.#isListening = true
    listening.handle(CHANNEL, (stream, key) => this.#accept(stream, key))
    return true
  }

  /** @internal */
  leave() {
    this.#isLeaving = true
    for (const gateway of this.#gateways) gateway.leave()
  }

  /** @internal */
  async close() {
    for (const { timer } of this.#sessions) if (timer) clearTimeout(timer)
    this.#sessions.clear()
    await this.#kept.close()
  }

  #accept(stream: LinkStream, key: Buffer) {
    const gateway = new GatewayStream(stream, key, {
      ring: this.#ring,
      concerns: (message, gateway) => this.#concerns(message, gateway),
      idOf: (name, gateway) => {
        const session = this.#sessions.get(name)
        return session?.stream === gateway ? session.id : null
      },
      onhello: (gateway) => {
        if (this.#isLeaving) gateway.leave()
      },
      onframe: (frame, gateway) => this.#take(frame, gateway),
      onclose: (gateway, reason) => this.#onclosed(gateway, reason)
    })
    this.#gateways.add(gateway)
    this.#stats.gateways++
    gateway.start()
  }

  #onclosed(gateway: GatewayStream, reason: SeaportError | null) {
    this.#gateways.delete(gateway)
    this.#stats.gateways--
    // If the gateway has another stream, over a better path, its sessions go on there.
    const next = [...this.#gateways].find((other) => other.gateway === gateway.gateway)
    for (const session of this.#sessions) {
      if (session.stream !== gateway) continue
      if (next) session.stream = next
      else this.#lose(session)
    }
    if (reason?.code === 'BAD_MESSAGE') this.#parts.onnotice(reason)
  }

  #take({ head, body }: ChannelFrame, gateway: GatewayStream) {
    switch (head.t) {
      case 'connect':
        return void this.#connect(head, gateway)
      case 'here':
        return this.#arrive(head, gateway)
      case 'gone': {
        const session = this.#sessions.get(head.session)
        if (session?.stream !== gateway) return
        return head.how === 'lost' ? this.#lose(session) : this.#end(session)
      }
      case 'message': {
        const session = this.#sessions.get(head.session)
        if (session?.stream !== gateway) return
        this.#stats.messages++
        return session.take(head, body)
      }
      case 'got': {
        const session = this.#sessions.get(head.session)
        if (session?.stream === gateway) this.#kept.ongot(session.id, head.key)
        return
      }
      default:
        throw SeaportError.BAD_MESSAGE(`a frame ${head.t} from a gateway`)
    }
  }

  /** Asks the service whether to admit a page, and answers the gateway. Never rejects. */
  async #connect(head: ConnectHead, gateway: GatewayStream) {
    const { n, token, viewer, origin } = head
    try {
      const before = this.#before(head)
      const admit: ConnectHandler = this.#handlers.admit ?? (() => ({ id: head.session }))
      const { id, data } = await admit({ token, viewer, origin })
      checkAdmitted(id, data)
      const isSame = before?.id === id
      const session = isSame ? before.session : head.session
      if (!isSame && this.#sessions.of(id).size >= MAX_SESSIONS_PER_ID) {
        throw SeaportError.LIMIT_REACHED(`${MAX_SESSIONS_PER_ID} sessions of one client`)
      }
      const fields = { session, id, data, gateway: gateway.gateway }
      const { ticket, secret } = this.#tickets.sign(fields, isSame ? head.ticket : undefined)
      const rooms = [...(this.#sessions.get(session)?.rooms ?? [])]
      gateway.send({ t: 'admitted', n, ticket, secret, resumed: isSame ? 1 : 0, rooms })
      this.#stats.connected++
    } catch {
      // The page is told only that it was refused. The service may log why.
      this.#stats.refused++
      gateway.send({ t: 'refused', n })
    }
  }

  /** The ticket of the session that a page goes on with, if the page can prove that it is its own. */
  #before({ ticket, secret }: ConnectHead) {
    if (ticket === undefined || secret === undefined) return null
    const before = this.#tickets.verify(ticket)
    return before && isSecretOf(before, secret) ? before : null
  }

  /** Called when a gateway announces a session. It counts only with a ticket that an instance has signed. */
  #arrive({ ticket: text, rooms, changes = 0 }: HereHead, gateway: GatewayStream) {
    const ticket = this.#tickets.verify(text)
    if (ticket?.gateway !== gateway.gateway) return
    const known = this.#sessions.get(ticket.session)
    const session = known?.id === ticket.id ? known : this.#begin(ticket)
    if (session.timer) clearTimeout(session.timer)
    session.timer = null
    session.ticket = ticket
    const before = session.stream
    if (before !== gateway) session.roomChanges = 0
    const changed = changes === session.roomChanges ? session.setRooms(rooms) : []
    const wasHere = before !== null
    session.stream = gateway
    if (before && before.gateway !== gateway.gateway) {
      before.send({ t: 'close', session: session.session, code: REPLACED })
    }
    if (!wasHere) this.#presence.onsession(session)
    else for (const room of changed) this.#presence.onroom(session.id, room)
    if (before !== gateway) this.#kept.onarrival(session.id)
  }

  #begin(ticket: Ticket): ClientSession {
    const session = new ClientSession(ticket, {
      handle: (head, data, client) => this.#handle(head, data, client),
      onroom: ({ session: name, id, stream, roomChanges: changes }, room, isIn) => {
        stream?.send({ t: 'room', session: name, name: room, isIn: isIn ? 1 : 0, changes })
        if (stream) this.#presence.onroom(id, room)
      }
    })
    this.#sessions.add(session)
    this.#stats.sessions++
    return session
  }

  /** Marks a session as away. It ends if it does not come back in time. */
  #lose(session: ClientSession) {
    session.stream = null
    session.timer = setTimeout(() => this.#end(session), this.#parts.window ?? WINDOW_MS)
    session.timer.unref()
    this.#presence.onsession(session)
  }

  #end(session: ClientSession) {
    if (!this.#sessions.has(session)) return
    const wasHere = session.stream !== null
    if (session.timer) clearTimeout(session.timer)
    session.stream = null
    this.#sessions.delete(session)
    this.#stats.sessions--
    if (wasHere) this.#presence.onsession(session)
    if (this.#isResponsibleFor(session.id)) this.#handlers.emit('disconnect', session)
  }

  /** Whether this instance does what has to be done once for a client. All instances agree on which one that is. */
  #isResponsibleFor(id: string): boolean {
    const { own } = this.#tickets
    const keys = new Set([own, ...this.#parts.instances()])
    return byRendezvous(id, [...keys])[0] === own
  }

  /** Handles what a client says: to the service, or to other clients if it may. */
  #handle({ to, type, id = '' }: MessageHead, data: unknown, client: Client): unknown {
    checkName(type, 'a message')
    if (to === 'service') return this.#handlers.answer(data, client, type)
    const act = to === 'all' ? 'broadcast' : 'direct'
    this.#handlers.checkAllowed(act, client)
    if (act === 'broadcast') return this.broadcast(type, data)
    return this.direct(id, type, data)
  }

  #send(event: Omit<EventHead, 'seq'>, data: unknown) {
    this.#ring.add(event, bodyOf(event.type, data))
    this.#stats.sent++
    for (const gateway of this.#gateways) gateway.pump()
  }

  #concerns({ head }: KeptMessage, gateway: GatewayStream): boolean {
    if (head.kind !== 'direct') return true
    return [...this.#sessions.of(head.id ?? '')].some(({ stream }) => stream === gateway)
  }
}
