import type { Client } from './client-session.js'

/** What is known of a page that asks to be admitted. */
export interface Arrival {
  /** The token that the page has sent. */
  token: unknown
  /** The name that the gateway knows it by, from its access rules; undefined if it is anonymous. */
  viewer: string | undefined
  /** The page's origin, as its browser states it. */
  origin: string | undefined
}

/** The client's id, and data about it. */
export interface Admitted {
  id: string
  data?: unknown
}

export interface BroadcastOptions {
  /** Only for clients whose data has these fields with these values. */
  filter?: Record<string, unknown> | undefined
  /** Only for clients in this room. */
  room?: string | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: only the caller knows the type
export type MessageHandler = (data: any, client: Client, type: string) => unknown
export type ConnectHandler = (arrival: Arrival) => Admitted | Promise<Admitted>

/** How many sessions of a client are connected, and how many are away and may come back. */
export interface Presence {
  id: string
  sessions: number
  away: number
}

/** The same, of the sessions that are in a room. */
export interface RoomPresence extends Presence {
  room: string
}

export interface ClientView extends Presence {
  data: unknown
}

export interface ClientsListeners {
  /** A page asks to be admitted. The handler returns who it is, or throws. There is only one such handler. */
  connect: ConnectHandler
  /** A client says something. What the handler returns is the answer. There is only one such handler. */
  message: MessageHandler
  /** A session has ended: the page closed it, or did not come back. One instance emits this. */
  disconnect: (client: Client) => void
  /** The number of sessions of a client has changed. Every instance emits this. */
  presence: (presence: Presence) => void
  /** The number of sessions of a client that are in a room has changed. Every instance emits this. */
  room: (presence: RoomPresence) => void
}

/** What clients may do to each other if the service allows it. */
export type ClientAct = 'broadcast' | 'direct' | 'presence'
