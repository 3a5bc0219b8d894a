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

  presenceOf(id: string): Presence {
    const all = [...this.of(id)]
    const sessions = all.filter(({ stream }) => stream !== null).length
    return { id, sessions, away: all.length - sessions }
  }

  list(): ClientView[] {
    return [...this.#byId].map(([id, sessions]) => {
      const [first] = sessions
      return { ...this.presenceOf(id), data: first?.data }
    })
  }
}

const NONE: ReadonlySet<ClientSession> = new Set()
