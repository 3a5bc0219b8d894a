import type { Client } from './client-session.js'

/** What is known of a browser that wants to come in. */
export interface Arrival {
  /** What the page gave as its token. */
  token: unknown
  /** Whom the gateway knows it as, by its own access rules; undefined for anybody. */
  viewer: string | undefined
  /** The page's origin, as the browser says. */
  origin: string | undefined
}

/** Who it is, and what else is known of it. */
export interface Admitted {
  id: string
  data?: unknown
}

// biome-ignore lint/suspicious/noExplicitAny: who hears it knows what browsers send
export type MessageHandler = (data: any, client: Client, type: string) => unknown
export type ConnectHandler = (arrival: Arrival) => Admitted | Promise<Admitted>

/** How many sessions of a client are here now, and how many of those that are away may come back. */
export interface Presence {
  id: string
  sessions: number
  away: number
}

export interface ClientView extends Presence {
  data: unknown
}

export interface ClientsListeners {
  /** Somebody wants to come in: says who it is, or throws. There is one of these. */
  connect: ConnectHandler
  /** A client says something, and is answered with what this returns. There is one of these. */
  message: MessageHandler
  /** A session is over: it said so, or did not come back. Heard by one instance. */
  disconnect: (client: Client) => void
  /** More or fewer sessions of a client are here. Heard by every instance. */
  presence: (presence: Presence) => void
}

/** What a client may do to others, where it is allowed. */
export type ClientAct = 'broadcast' | 'direct' | 'presence'
