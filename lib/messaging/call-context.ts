import { AsyncLocalStorage } from 'node:async_hooks'
import type { Meta } from './meta.js'

/** What a handler is told of the command that it runs for. */
export interface CallContext {
  /** The key of who called, in hex: a process that proved it. */
  readonly peer: string
  /** Who that calls for, as it says. Believe it of gateways that you know by their `peer`. */
  readonly principal: string | undefined
  /** Aborted when the answer is of no use any more: the caller's time is over, or it gave up, or is gone. */
  readonly signal: AbortSignal
  /** When the caller gives up, in ms since 1970 by this machine's clock. */
  readonly deadline: number
  readonly meta: Meta
}

/** What commands inherit that a handler sends. */
export interface Inherited {
  /** By `performance.now()`. */
  deadline: number
  signal: AbortSignal
  meta: Meta
}

/** The handler that is being run, wherever in it we are. */
export const inherited = new AsyncLocalStorage<Inherited>()
