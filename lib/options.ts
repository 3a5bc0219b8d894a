/** The words that options take, and their defaults. It is quick to load. */
export { DIRECT_REACHES } from './link/direct/address.js'
export { DEFAULT_LIMITS } from './registry/swarm/limits.js'
