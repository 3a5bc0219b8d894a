import { SeaportError } from '../core/errors.js'
import type { Client } from './clients/client-session.js'
import type { Admitted, ClientAct } from './clients/client-types.js'
import type { Clients } from './clients/clients.js'
import { hasFields } from './clients/ticket.js'
import type { StdioProgram } from './stdio-program.js'

type Params = Record<string, unknown>

/** What the program says. The clients check it. */
interface Said {
  type: string
  id: string
  code?: number
  filter?: Record<string, unknown>
  room: string
  session: string
  act: ClientAct
  ttl: number
}

/** How long the program may take, and how long to wait until it runs, in ms. */
const TIMEOUT_MS = 8000

/** The browsers of a service whose program is elsewhere: what `service.clients` does, as methods of JSON-RPC. */
export class StdioClients {
  readonly #clients: () => Clients
  readonly #program: () => StdioProgram
  readonly #heard = new Set<string>()

  constructor(parts: { clients: () => Clients; program: () => StdioProgram }) {
    this.#clients = parts.clients
    this.#program = parts.program
  }

  /**
   * Does what the program asks for.
   *
   * @throws USAGE, UNKNOWN_COMMAND, and what the clients throw
   */
  async take(method: string, params: Params): Promise<unknown> {
    const clients = this.#clients()
    const { type, id, code, filter, room, session, act, ttl } = params as unknown as Said
    switch (method) {
      case 'on':
        return this.#listen(params.events)
      case 'broadcast':
        return clients.broadcast(type, dataOf(params), { filter, room })
      case 'direct':
        return clients.direct(id, type, dataOf(params), { ttl })
      case 'disconnect':
        return clients.disconnect(id, code)
      case 'list':
        return clients.list({ room })
      case 'allow':
        return this.#allow(act, filter)
      case 'join':
        return clients.sessionOf(session)?.join(room)
      case 'leave':
        return clients.sessionOf(session)?.leave(room)
      default:
        throw SeaportError.UNKNOWN_COMMAND(`clients.${method} is no method`)
    }
  }

  /** A program that was started again says anew what it listens to. */
  #listen(events: unknown) {
    if (!Array.isArray(events)) throw SeaportError.USAGE('events is a list')
    for (const event of events) {
      const listen = this.#listeners.get(event)
      if (!listen)
        throw SeaportError.USAGE('clients have connect, message, disconnect, presence and room')
      if (this.#heard.has(event)) continue
      this.#heard.add(event)
      listen(this.#clients())
    }
  }

  readonly #listeners = new Map<unknown, (clients: Clients) => void>([
    [
      'connect',
      (clients) =>
        clients.on(
          'connect',
          (arrival) => this.#ask('connect', { ...arrival }) as Promise<Admitted>
        )
    ],
    [
      'message',
      (clients) =>
        clients.on('message', (data, client, type) =>
          this.#ask('message', { type, ...bytesOf(data), client: viewOf(client) })
        )
    ],
    [
      'disconnect',
      (clients) => clients.on('disconnect', (client) => this.#tell('disconnect', viewOf(client)))
    ],
    [
      'presence',
      (clients) => clients.on('presence', (presence) => this.#tell('presence', { ...presence }))
    ],
    ['room', (clients) => clients.on('room', (presence) => this.#tell('room', { ...presence }))]
  ])

  #allow(act: ClientAct, filter: object | undefined) {
    if (!ACTS.has(act)) throw SeaportError.USAGE('act is broadcast, direct or presence')
    this.#clients().allow(act, ({ data }) => filter === undefined || hasFields(data, filter))
  }

  #ask(event: string, params: Params): Promise<unknown> {
    // A message may have been handled, so it is not repeated.
    const attempts = event === 'connect' ? 2 : 1
    return this.#program().askSoon(`clients.${event}`, params, { attempts, timeout: TIMEOUT_MS })
  }

  #tell(event: string, params: Params) {
    this.#program().notify(`clients.${event}`, params)
  }
}

const ACTS: ReadonlySet<unknown> = new Set<ClientAct>(['broadcast', 'direct', 'presence'])

/** What the program may know of a client. */
function viewOf({ id, session, data, rooms }: Client): Params {
  return { id, session, data, rooms: [...rooms] }
}

function bytesOf(data: unknown): Params {
  if (!(data instanceof Uint8Array)) return { data }
  return { data: Buffer.from(data).toString('base64'), encoding: 'base64' }
}

function dataOf({ data, encoding }: Params): unknown {
  return encoding === 'base64' ? Buffer.from(String(data), 'base64') : data
}
