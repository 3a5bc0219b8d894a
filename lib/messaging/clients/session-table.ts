import type { ClientSession } from './client-session.js'
import type { ClientView, Presence } from './client-types.js'

/** The sessions of all clients, by name and by client. */
export class SessionTable {
  readonly #byName = new Map<string, ClientSession>()
  readonly #byId = new Map<string, Set<ClientSession>>()

  get size(): number {
    return this.#byName.size
  }

  get(name: string): ClientSession | undefined {
    return this.#byName.get(name)
  }

  has(session: ClientSession): boolean {
    return this.#byName.get(session.session) === session
  }

  /** The sessions of a client. */
  of(id: string): ReadonlySet<ClientSession> {
    return this.#byId.get(id) ?? NONE
  }

  [Symbol.iterator](): IterableIterator<ClientSession> {
    return this.#byName.values()
  }

  add(session: ClientSession) {
    this.#byName.set(session.session, session)
    const sessions = this.#byId.get(session.id) ?? new Set()
    this.#byId.set(session.id, sessions.add(session))
  }

  delete(session: ClientSession) {
    this.#byName.delete(session.session)
    const sessions = this.#byId.get(session.id)
    sessions?.delete(session)
    if (sessions?.size === 0) this.#byId.delete(session.id)
  }

  clear() {
    this.#byName.clear()
    this.#byId.clear()
  }

  /** @param room counts only the sessions that are in it */
  presenceOf(id: string, room?: string): Presence {
    const all = [...this.of(id)].filter((session) => room === undefined || session.rooms.has(room))
    const sessions = all.filter(({ stream }) => stream !== null).length
    return { id, sessions, away: all.length - sessions }
  }

  /** @param room lists only the clients that are in it */
  list(room?: string): ClientView[] {
    const all = [...this.#byId].map(([id, sessions]) => {
      const [first] = sessions
      return { ...this.presenceOf(id, room), data: first?.data }
    })
    return all.filter(({ sessions, away }) => sessions + away > 0)
  }
}

const NONE: ReadonlySet<ClientSession> = new Set()
