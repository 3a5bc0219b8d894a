/** The first nodes of a private DHT. */
export { BootstrapNode, ENOUGH_NODES } from './core/bootstrap-node.js'
