import type { Signal } from '../core/abort.js'
import type { RelayOffer } from '../core/relay-offer.js'
import type { IncomingStream } from './incoming-stream.js'
import type { StreamMemory } from './memory.js'
import type { Path } from './path.js'

export interface LinkOptions {
  path?: Path
  /** The relay that it may go by. */
  relay?: RelayOffer | undefined
  /** The round-trip time in ms, for a connection that does not measure it. */
  rtt?: number
  /** Streams at a time, those being opened included. */
  maxStreams?: number | undefined
  /** Where what waits for readers is counted. Default: over all links of the process. */
  memory?: StreamMemory | undefined
  /** The purposes of streams that are taken here, as the other side is told. */
  speaks?: readonly string[]
  /** Gives up making the connection after so many ms. */
  connectTimeout?: number
  /** Gives up on a connection that HyperDHT reports and on which nothing comes for so many ms. */
  hearTimeout?: number
  /** Looks for a sign of life each so many ms while streams are open. */
  heartbeat?: number
  /** The link is lost when nothing was heard for so many ms. */
  deadAfter?: number
  /** The other side wants a stream: `accept` or `refuse` it. Without this, all are refused. */
  onincoming?: ((incoming: IncomingStream) => void) | undefined
}

export interface OpenOptions {
  /** What the stream is for. Default: bytes for a service's backend. */
  purpose?: string | undefined
  /** How long to wait for the answer, in ms, counted from when the link is connected. */
  timeout?: number | undefined
  signal?: Signal | undefined
  /** There is nobody else to ask. So if the link turns out to be deaf, the pool makes another one and asks again. */
  insist?: boolean | undefined
}
