import { RelayServer, type RelaySession, type RelayStream } from '../../core/blind-relay.js'
import { SeaportError } from '../../core/errors.js'
import { type DHTServer, type HyperDHT, ReadyResource } from '../../core/holepunch.js'
import { KeyPair } from '../../core/keys.js'
import type { RelayOffer } from '../../core/relay-offer.js'

export interface RelayOptions {
  /** Not closed by the relay. */
  dht: HyperDHT
  /** Bytes per second that it passes on, of all pairs together, on average over `window`. */
  rate: number
  /** Pairs at a time. */
  maxPairs?: number
  /** In ms. */
  window?: number
}

const MAX_PAIRS = 256
const WINDOW_MS = 10_000
/** How often is measured what was passed on, in ms. */
const MEASURE_MS = 1000

/** What a pair has passed on so far, in bytes. */
interface Pair {
  streams: Set<RelayStream>
  counted: number
  /** In each of the last measures. */
  recent: number[]
}

/**
 * A blind relay for pairs whose routers let them punch no holes: HyperDHT's. It passes on packets that it cannot
 * read, between two who name the same token, and does not know which registry or service they are of. UDX passes
 * packets on without asking, so the rate is kept by ending the pair that passed on most. Emits `offer` (a RelayOffer:
 * where it can be called from now on, if it can) and `notice` (a SeaportError: a pair was ended).
 */
export class Relay extends ReadyResource {
  readonly stats = {
    /** Pairs now, and since it began. */
    pairs: 0,
    paired: 0,
    /** Connections that were not taken, since there were pairs enough; and pairs that were ended for the rate. */
    refused: 0,
    ended: 0,
    /** Passed on since it began. */
    bytes: 0
  }

  readonly #dht: HyperDHT
  readonly #rate: number
  readonly #maxPairs: number
  readonly #measures: number
  readonly #keyPair = KeyPair()
  readonly #sessions = new Set<RelaySession>()
  readonly #pairs = new Map<string, Pair>()
  readonly #relay: RelayServer
  readonly #server: DHTServer
  #timer: NodeJS.Timeout | null = null
  #listening: Promise<unknown> | null = null
  #offered = ''

  constructor({ dht, rate, maxPairs = MAX_PAIRS, window = WINDOW_MS }: RelayOptions) {
    super()
    this.#dht = dht
    this.#rate = rate
    this.#maxPairs = maxPairs
    this.#measures = Math.max(Math.round(window / MEASURE_MS), 1)
    this.#relay = new RelayServer({
      createStream: (options) =>
        dht.createRawStream({ ...options, framed: true }) as unknown as RelayStream
    })
    this.#server = dht.createServer({ firewall: () => this.#isFull() }, (connection) => {
      connection.on('error', () => {})
      const session = this.#relay.accept(connection, { id: connection.remotePublicKey })
      this.#sessions.add(session)
      session.on('error', () => {})
      session.on('close', () => this.#sessions.delete(session))
      session.on('pair', (_isInitiator: boolean, token: Buffer, stream: RelayStream) =>
        this.#onpair(token.toString('hex'), stream)
      )
    })
  }

  override async _open() {
    this.#timer = setInterval(() => {
      this.#measure()
      void this.#offer()
    }, MEASURE_MS)
    void this.#offer()
  }

  override async _close() {
    if (this.#timer) clearInterval(this.#timer)
    for (const session of this.#sessions) session.destroy()
    await this.#server.close()
  }

  /** Who cannot be called is no help to those who cannot be called either. Never rejects. */
  async #offer() {
    const { host, port, firewalled } = this.#dht
    if (this.closing || firewalled || host === null || port === 0) return
    const place = `${host}:${port}`
    if (place === this.#offered) return
    this.#offered = place
    try {
      this.#listening ??= this.#server.listen(this.#keyPair)
      await this.#listening
      this.emit('offer', { key: this.#keyPair.publicKey, host, port } satisfies RelayOffer)
    } catch {
      this.#listening = null
      this.#offered = ''
    }
  }

  #isFull(): boolean {
    const isFull = this.#pairs.size >= this.#maxPairs
    if (isFull) this.stats.refused++
    return isFull
  }

  #onpair(token: string, stream: RelayStream) {
    const pair = this.#pairs.get(token) ?? { streams: new Set(), counted: 0, recent: [] }
    if (!this.#pairs.has(token)) {
      this.#pairs.set(token, pair)
      this.stats.pairs++
      this.stats.paired++
    }
    pair.streams.add(stream)
    stream.on('error', () => {})
    stream.on('close', () => {
      this.#count(pair)
      pair.streams.delete(stream)
      if (this.#pairs.get(token) !== pair) return
      this.#pairs.delete(token)
      this.stats.pairs--
    })
  }

  /** @returns bytes since it was counted last */
  #count(pair: Pair): number {
    let bytes = 0
    for (const { bytesReceived } of pair.streams) bytes += bytesReceived
    const more = Math.max(bytes - pair.counted, 0)
    pair.counted = Math.max(bytes, pair.counted)
    this.stats.bytes += more
    return more
  }

  #measure() {
    let total = 0
    let busiest: Pair | null = null
    for (const pair of this.#pairs.values()) {
      pair.recent.push(this.#count(pair))
      if (pair.recent.length > this.#measures) pair.recent.shift()
      total += sum(pair.recent)
      if (!busiest || sum(pair.recent) > sum(busiest.recent)) busiest = pair
    }
    if (!busiest || total <= (this.#rate * this.#measures * MEASURE_MS) / 1000) return
    this.stats.ended++
    for (const stream of [...busiest.streams]) stream.destroy()
    this.emit(
      'notice',
      SeaportError.LIMIT_REACHED(
        `the relay passed on more than ${this.#rate} bytes a second, and ended the pair with most of it; ` +
          'registry --relay sets the rate'
      )
    )
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0)
}
