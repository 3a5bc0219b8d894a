import { MAX_APPS } from '../trust/max-apps.js'

export { RateLimiter } from './rate-limiter.js'

/** What one participant takes of others. What is more is slowed down, or denied with a code. */
export interface Limits {
  /** Messages a second that one key may send, over however many connections. */
  messageRate: number
  /** Messages that it may send at once. */
  messageBurst: number
  /** Services that one key may hold leases for, over however many connections. */
  leasesPerKey: number
  /** Connections from one address. */
  connectionsPerAddress: number
  /** Connections on which logs are replicated. */
  replications: number
  /** Apps of the registry, removed ones apart. */
  apps: number
  /** How long impostors are remembered, in ms. */
  memory: number
}

export const DEFAULT_LIMITS: Limits = {
  messageRate: 5000,
  messageBurst: 10_000,
  leasesPerKey: 10_000,
  connectionsPerAddress: 1024,
  replications: 2048,
  apps: MAX_APPS,
  memory: 10 * 60 * 1000
}
