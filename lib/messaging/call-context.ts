import { AsyncLocalStorage } from 'node:async_hooks'
import type { Meta } from './meta.js'

/** What a handler is told of the command that it runs for. */
export interface CallContext {
  /** The key of the caller, in hex. The calling process has proven it. */
  readonly peer: string
  /** On whose behalf the caller calls, by its own word. Trust it only from gateways, which you know by their `peer`. */
  readonly principal: string | undefined
  /** Aborted when nobody waits for the answer any more: the caller's time is over, or it gave up, or is gone. */
  readonly signal: AbortSignal
  /** When the caller gives up, in ms since 1970 by this machine's clock. */
  readonly deadline: number
  readonly meta: Meta
}

/** What a handler passes on to the commands that it sends. */
export interface Inherited {
  /** The caller has its answer. What the handler still does has no deadline. */
  isAnswered: boolean
  /** When the handler's own caller gives up, by `performance.now()`. */
  deadline: number
  signal: AbortSignal
  meta: Meta
}

/** The handler that the present code runs for, followed through its asynchronous calls. */
export const inherited = new AsyncLocalStorage<Inherited>()
