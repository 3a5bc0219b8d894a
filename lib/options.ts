/** The words that options take, how times are written and waited for, and defaults. It is quick to load. */
export { parseDelay, parseDuration, parseExpiry } from './core/duration.js'
export { parseSize } from './core/size.js'
export { startTimer } from './core/timer.js'
export { DIRECT_REACHES } from './link/direct/address.js'
export { DEFAULT_LIMITS } from './registry/swarm/limits.js'
export { PROXY_PROTOCOLS } from './serving/proxy-protocol.js'
