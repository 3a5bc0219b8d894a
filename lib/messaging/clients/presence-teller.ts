import type { EventHead } from './channel-frames.js'
import type { ClientHandlers } from './client-handlers.js'
import type { ClientSession } from './client-session.js'
import type { SessionTable } from './session-table.js'

export interface PresenceTellerParts {
  sessions: SessionTable
  handlers: ClientHandlers
  /** Whether this instance tells pages about a client. */
  isResponsibleFor: (id: string) => boolean
  send: (event: Omit<EventHead, 'seq'>, data: unknown) => void
}

/** Tells the service, and pages if they may hear it, how many sessions of a client are here, or are in a room. */
export class PresenceTeller {
  readonly #parts: PresenceTellerParts

  constructor(parts: PresenceTellerParts) {
    this.#parts = parts
  }

  /** A session has come, was lost or has ended. */
  onsession({ id, rooms }: ClientSession) {
    const presence = this.#parts.sessions.presenceOf(id)
    this.#parts.handlers.emit('presence', presence)
    this.#tellPages(id, 'presence', presence)
    for (const room of rooms) this.onroom(id, room)
  }

  /** A session of a client has joined a room, or left it, or is in it and has come or gone. */
  onroom(id: string, room: string) {
    const presence = { ...this.#parts.sessions.presenceOf(id, room), room }
    this.#parts.handlers.emit('room', presence)
    this.#tellPages(id, 'room', presence, room)
  }

  #tellPages(id: string, type: string, presence: object, room?: string) {
    const { handlers, isResponsibleFor, send } = this.#parts
    if (!handlers.allows('presence') || !isResponsibleFor(id)) return
    send({ kind: 'presence', type, id, room }, presence)
  }
}
