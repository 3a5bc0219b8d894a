import type { IncomingMessage, ServerResponse } from 'node:http'
import { SeaportError } from '../core/errors.js'
import { type Cursors, EntryEvents, type EntryEventsOptions } from '../messaging/entry-events.js'
import { MOVED, STATE } from '../messaging/names.js'
import type { Directory } from '../registry/replica/directory.js'
import type { AccessList, Principal } from './access.js'
import { whenClosed } from './client-response.js'
import type { InstanceViews } from './instance-views.js'
import type { EventsTarget } from './target.js'
import type { Upstream } from './upstream.js'

export interface EventStreamsOptions {
  pool: EntryEventsOptions['pool']
  directory: Directory
  views: InstanceViews
}

/** A request for a command or for events: who asks, and of which upstream. */
export interface Asking<T> {
  target: T
  upstream: Upstream
  principal: Principal
}

const KEEPALIVE_MS = 15_000
const MAX_LISTENERS = 1024
/** How much a listener may leave unread before it is cut. A browser then connects again, and goes on where it was. */
const MAX_UNREAD_BYTES = 1024 * 1024
/** How many instances an event id has places of, the latest. A browser sends it back as a header, of 32 KiB at most. */
const MAX_PLACES = 200

/** What a service tells with a change of its state. */
type SignedEntry = Record<string, unknown> & { signature?: unknown }
type SignedHead = { owner?: unknown; term?: unknown; rev?: unknown }

/** Serves events as server-sent events, until the client hangs up. */
export class EventStreams {
  readonly #options: EventStreamsOptions
  /** What ends each of those who listen. */
  readonly #listening = new Map<() => void, Principal>()

  constructor(options: EventStreamsOptions) {
    this.#options = options
  }

  /** Sends the events of all instances that the principal may reach, until the client hangs up. */
  async listen(
    request: IncomingMessage,
    response: ServerResponse,
    { target, upstream, principal }: Asking<EventsTarget>
  ) {
    if (this.#listening.size >= MAX_LISTENERS) {
      throw SeaportError.NO_INSTANCE('too many listen to events here already')
    }
    const { pool, directory, views } = this.#options
    const events = new EntryEvents({
      pool,
      instances: upstream.instances,
      watch: (listener) => directory.watch(listener),
      onnotice: (notice) => send(`: ${notice.code}\n\n`)
    })
    const send = (text: string) => {
      response.write(text)
      if (response.writableLength > MAX_UNREAD_BYTES) response.destroy()
    }
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no'
    })
    response.flushHeaders()
    const after = this.#cursorsOf(request.headers['last-event-id'], principal)
    for (const type of target.types) {
      events.on(
        type,
        (data, { type, instance, ...origin }) => {
          const by = {
            [principal.mayReachAll ? 'instance' : 'id']: views.nameOf(instance, principal)
          }
          const shown = { type, ...by, ...origin, data: this.#shownData(data, type, principal) }
          const id = this.#cursorText(events.cursors(), principal)
          send(`id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(shown)}\n\n`)
        },
        { after }
      )
    }
    events.ready().then(
      // With its place, so that also who has heard nothing yet goes on where it was.
      () => send(`: listening\nid: ${this.#cursorText(events.cursors(), principal)}\n\n`),
      () => {}
    )
    const keepalive = setInterval(() => send(':\n\n'), KEEPALIVE_MS)
    const end = () => response.end()
    this.#listening.set(end, principal)
    // A client that sent its FIN may still read. But an event stream never ends by itself, so it would be kept for good.
    request.socket.once('end', end)
    await whenClosed(response)
    request.socket.off('end', end)
    this.#listening.delete(end)
    clearInterval(keepalive)
    events.close()
  }

  /** Ends the streams of those whose rights have changed. Their clients come back, and hear what they may now. */
  recheck(access: Pick<AccessList, 'isCurrent'>) {
    for (const [end, principal] of this.#listening) if (!access.isCurrent(principal)) end()
  }

  /** Ends all of them. */
  close() {
    for (const end of this.#listening.keys()) end()
  }

  /** The data of an event as a principal may see it: without keys that are kept from them, and what is signed with those. */
  #shownData(data: unknown, type: string, principal: Principal): unknown {
    if (data instanceof Uint8Array) return { base64: Buffer.from(data).toString('base64') }
    if (principal.mayReachAll || typeof data !== 'object' || data === null) return data
    if (type === MOVED) return { to: this.#nameOf((data as { to?: unknown }).to, principal) }
    if (type !== STATE) return data
    const { entry, head } = data as { entry?: SignedEntry; head?: SignedHead }
    const { signature: _, ...change } = entry ?? {}
    const id = this.#nameOf(head?.owner, principal)
    return { entry: change, head: { id, term: head?.term, rev: head?.rev } }
  }

  #nameOf(key: unknown, principal: Principal): string {
    return this.#options.views.nameOf(String(key), principal)
  }

  #cursorText(cursors: Cursors, principal: Principal): string {
    const { views } = this.#options
    const places = Object.entries(cursors).slice(-MAX_PLACES)
    const named = places.map(([key, { epoch, seq }]) => [views.nameOf(key, principal), epoch, seq])
    return Buffer.from(JSON.stringify(named)).toString('base64url')
  }

  /** The cursors of an event id that was sent before, as far as it names instances as the principal knows them. */
  #cursorsOf(id: string | string[] | undefined, principal: Principal): Cursors {
    const { directory, views } = this.#options
    const cursors: Cursors = {}
    try {
      const named: unknown = JSON.parse(Buffer.from(String(id), 'base64url').toString())
      for (const [name, epoch, seq] of named as [unknown, unknown, unknown][]) {
        const key = principal.mayReachAll ? String(name) : views.keyOf(String(name))
        const isPlace = isCount(epoch) && isCount(seq)
        if (key && directory.entry(key) && isPlace) cursors[key] = { epoch, seq }
      }
    } catch {
      return {}
    }
    return cursors
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 48
}
