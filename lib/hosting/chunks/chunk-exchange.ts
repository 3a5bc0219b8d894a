import { EventEmitter } from 'node:events'
import { Abort, type Signal } from '../../core/abort.js'
import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import type { LinkStream } from '../../link/stream.js'
import { type ChunkEntry, hashOf } from '../bundle/chunk.js'
import type { ChunkStore } from '../bundle/chunk-store.js'
import { BundleFetch, badChunk, type ChunkSources, type FetchProgress } from './bundle-fetch.js'
import { ChunkPeer, type Want } from './chunk-peer.js'

export interface ChunkExchangeOptions {
  store: ChunkStore
  /** Our own key, hex, as other peers know it. */
  key: string
  /** Opens a stream of the purpose `CHUNKS` to a key, as a `LinkPool` does. */
  connect: (key: Buffer, signal: Signal) => Promise<LinkStream>
  /**
   * Whether a key, hex, may have a bundle, by the hash of its list; an error says why not. It is called for each chunk.
   */
  authorize: (key: string, list: string) => boolean | SeaportError
  /** How long the other side may send nothing while it was asked for something, in ms. */
  stallTimeout?: number | undefined
  /** How long a source that was lost or sent nothing is not asked, in ms. */
  pause?: number | undefined
  /** How often peers that wait are told of progress, in ms. */
  progressInterval?: number | undefined
}

interface ChunkExchangeEvents {
  /** Somebody sent a chunk that is not what its hash says, or broke the protocol. */
  notice: [error: SeaportError]
}

export interface FetchOptions {
  sources: ChunkSources
  signal?: Signal | undefined
}

const PROGRESS_INTERVAL_MS = 500
/** How many streams one key may have at a time. */
const MAX_STREAMS = 4
/** Of how many bundles it is remembered what is in them, and who gave of them. */
const MAX_LISTS = 16

/**
 * Gives chunks to those who may have them, and fetches bundles. Each host has one, and so has each deployer. Give
 * streams of the purpose `CHUNKS` to `accept`.
 */
export class ChunkExchange extends EventEmitter<ChunkExchangeEvents> {
  /** The counters of streams that have ended. */
  readonly #stats = { sent: 0, sentBytes: 0, refused: 0, bad: 0 }
  readonly #options: ChunkExchangeOptions
  readonly #store: ChunkStore
  readonly #peers = new Map<string, Set<ChunkPeer>>()
  /** Streams that were opened here to fetch something, and end when that is done. */
  readonly #lent = new Set<ChunkPeer>()
  readonly #connecting = new Map<string, Promise<ChunkPeer>>()
  readonly #fetches = new Map<string, { fetch: BundleFetch; done: Promise<ChunkEntry[]> }>()
  /** Peers that wait for a chunk that we expect, or for a bundle that we have not been told of yet. */
  readonly #waiting = new Map<ChunkPeer, Set<Want>>()
  /** The streams that gave something of a bundle last, by the key and the hash of the list. */
  readonly #givers = new Map<string, ChunkPeer>()
  readonly #lists = new Map<string, ReadonlySet<string>>()
  readonly #abort = new Abort()
  #toldAt = 0

  constructor(options: ChunkExchangeOptions) {
    super()
    this.#options = options
    this.#store = options.store
  }

  /** Counts chunks that were sent, questions that were refused, and chunks that did not match their hash. */
  get stats() {
    const stats = { ...this.#stats }
    for (const peer of [...this.#peers.values()].flatMap((peers) => [...peers])) {
      stats.sent += peer.stats.sent
      stats.sentBytes += peer.stats.sentBytes
    }
    return stats
  }

  /** Takes a stream that another peer has opened to us. */
  accept(stream: LinkStream, remotePublicKey: Buffer) {
    const key = toHex(remotePublicKey)
    if (this.#abort.aborted) return stream.destroy(closed())
    const peers = [...(this.#peers.get(key) ?? [])]
    if (peers.length >= MAX_STREAMS) {
      // Whoever was lost and has returned is not kept out by its streams that have not ended yet.
      const [stalest] = peers.sort((one, other) => one.heardAt - other.heardAt)
      stalest?.destroy(
        SeaportError.LIMIT_REACHED(`more than ${MAX_STREAMS} streams of chunks to one key`)
      )
    }
    this.#add(stream, key)
  }

  /**
   * Opens a stream to a key by which that side can ask us for chunks. A deployer does so, as hosts cannot call it.
   *
   * @returns a promise that resolves with the reason when that stream has ended
   * @throws what opening a stream throws
   */
  async join(key: string): Promise<{ closed: Promise<SeaportError> }> {
    const peer = await this.#peerOf(key)
    this.#lent.delete(peer)
    const closed = new Promise<SeaportError>((resolve) => peer.once('close', resolve))
    return { closed }
  }

  /**
   * Fetches what is missing of a bundle. If that is under way already, the sources are added to those that it has.
   * Chunks that have come are kept if it fails, and the next call does not fetch them again.
   *
   * @param list the hash of its list
   * @returns the chunks of the bundle, all of which are in the store
   * @throws NO_INSTANCE or the error of the last source that was asked, DISK_FULL, BAD_BUNDLE, CLOSED, or the signal's
   *   reason
   */
  fetch(list: string, { sources, signal }: FetchOptions): Promise<ChunkEntry[]> {
    const running = this.#fetches.get(list)
    if (running) {
      running.fetch.add(sources)
      return running.done
    }
    const { key, pause } = this.#options
    const fetch = new BundleFetch({
      list,
      key,
      sources,
      store: this.#store,
      pause,
      signals: signal ? [signal, this.#abort] : [this.#abort],
      ask: (from, hash, stop) => this.#ask(from, list, hash, stop),
      onnotice: (error) => this.#onbad(error),
      onchange: (hash) => this.#answerWaiting(list, hash)
    })
    const done = fetch.run().finally(() => {
      this.#fetches.delete(list)
      this.#answerWaiting(list)
      this.#endIdle()
    })
    this.#fetches.set(list, { fetch, done })
    this.#answerWaiting(list)
    return done
  }

  /**
   * Fetches one document by its hash, such as a release. It is no larger than a chunk, is stored like one, and is asked
   * for as if it were the list of a bundle.
   *
   * @throws as `fetch` does
   */
  async fetchDocument(hash: string, { sources, signal }: FetchOptions): Promise<Buffer> {
    const known = await this.#store.read(hash)
    if (known) return known
    const { pusher, seeders = [], peers = [] } = sources
    const keys = new Set([...seeders, ...(pusher === undefined ? [] : [pusher]), ...peers])
    keys.delete(this.#options.key)
    let reason = SeaportError.NO_INSTANCE(`nobody who has ${hash.slice(0, 8)}… can be reached`)
    for (const key of keys) {
      try {
        const document = await this.#ask(key, hash, hash, signal ?? this.#abort)
        if (hashOf(document) === hash) {
          await this.#store.write(document)
          return document
        }
        reason = this.#onbad(badChunk(key, hash))
      } catch (error) {
        if (this.#abort.aborted || signal?.aborted) throw error
        reason = error as SeaportError
      }
    }
    throw reason
  }

  #onbad(error: SeaportError): SeaportError {
    this.#stats.bad++
    this.emit('notice', error)
    return error
  }

  /** How far the fetch of a bundle is; null if it is not being fetched. */
  progressOf(list: string): FetchProgress | null {
    return this.#fetches.get(list)?.fetch.progress ?? null
  }

  /** Ends all streams and fetches. */
  close() {
    this.#abort.abort(closed())
    for (const peers of this.#peers.values()) for (const peer of peers) peer.end()
  }

  /** Asks a key for a chunk. If the stream ended in order before the answer, it asks again on a new stream. */
  async #ask(key: string, list: string, hash: string, signal: Signal): Promise<Buffer> {
    const isThere = this.#peers.has(key)
    try {
      return await this.#askAny(key, list, hash, signal)
    } catch (error) {
      const isLost = error instanceof SeaportError && error.code === 'LINK_LOST'
      if (!isThere || !isLost || signal.aborted) throw error
      return this.#askAny(key, list, hash, signal)
    }
  }

  /**
   * Asks the stream that has given something of this bundle. If there is none, all streams of the key are asked at once:
   * one may be dead, or of another deployer that has the same key.
   *
   * @throws the error of the newest stream
   */
  async #askAny(key: string, list: string, hash: string, signal: Signal): Promise<Buffer> {
    const newest = await this.#peerOf(key)
    const name = `${key} ${list}`
    const giver = this.#givers.get(name)
    const isKnown = giver !== undefined && !giver.isClosed
    const peers = isKnown ? [giver] : [newest, ...this.#openPeersOf(key)]
    const over = new Abort()
    const onabort = () => over.abort(signal.reason)
    if (signal.aborted) onabort()
    signal.addEventListener('abort', onabort, { once: true })
    const asked = [...new Set(peers)].map(async (peer) => {
      const chunk = await peer.ask(list, hash, over)
      remember(this.#givers, name, peer)
      return chunk
    })
    try {
      return await Promise.any(asked)
    } catch (error) {
      if (this.#givers.get(name) === giver) this.#givers.delete(name)
      throw (error as AggregateError).errors[0]
    } finally {
      signal.removeEventListener('abort', onabort)
      over.abort(SeaportError.CLOSED('another stream has answered'))
    }
  }

  #openPeersOf(key: string): ChunkPeer[] {
    return [...(this.#peers.get(key) ?? [])].filter(({ isClosed }) => !isClosed)
  }

  async #peerOf(key: string): Promise<ChunkPeer> {
    const newest = this.#openPeersOf(key).at(-1)
    if (newest) return newest
    const connecting = this.#connecting.get(key) ?? this.#connect(key)
    this.#connecting.set(key, connecting)
    return connecting
  }

  async #connect(key: string): Promise<ChunkPeer> {
    try {
      const signal = this.#abort
      const stream = await this.#options.connect(Buffer.from(key, 'hex'), signal)
      if (signal.aborted) {
        stream.destroy()
        throw signal.reason
      }
      const peer = this.#add(stream, key)
      this.#lent.add(peer)
      return peer
    } finally {
      this.#connecting.delete(key)
    }
  }

  #add(stream: LinkStream, key: string): ChunkPeer {
    const { stallTimeout } = this.#options
    const peer = new ChunkPeer({ stream, key, stallTimeout })
    const peers = this.#peers.get(key) ?? new Set()
    this.#peers.set(key, peers.add(peer))
    peer.on('want', (want) => void this.#onwant(peer, want))
    peer.on('heard', () => this.#tellProgress(key))
    peer.once('close', (reason) => {
      this.#stats.sent += peer.stats.sent
      this.#stats.sentBytes += peer.stats.sentBytes
      peers.delete(peer)
      this.#lent.delete(peer)
      if (peers.size === 0) this.#peers.delete(key)
      this.#waiting.delete(peer)
      if (reason.code === 'BAD_MESSAGE' || reason.code === 'TOO_LARGE') this.emit('notice', reason)
    })
    peer.open()
    return peer
  }

  /** Answers a question for a chunk: at once, when the chunk has come, or with a refusal. Never rejects. */
  async #onwant(peer: ChunkPeer, want: Want) {
    try {
      const { list, hash } = want
      const answer = this.#options.authorize(peer.key, list)
      if (answer !== true) {
        throw answer || SeaportError.NOT_GRANTED(`${peer.key} may not have this bundle`)
      }
      const give = () => want.give(() => this.#store.read(hash))
      if (await this.#has(list, hash)) return give()
      const fetch = this.#fetches.get(list)?.fetch
      const mayCome = fetch ? fetch.willHave(hash) : !(await this.#store.has(list))
      if (mayCome && (fetch || !this.#fetches.has(list))) {
        this.#waiting.set(peer, (this.#waiting.get(peer) ?? new Set()).add(want))
        return
      }
      // The chunk may have come while we looked.
      if (await this.#has(list, hash)) return give()
      throw SeaportError.NOT_FOUND('the chunk is not here')
    } catch (error) {
      this.#stats.refused++
      want.refuse(error instanceof SeaportError ? error : SeaportError.NOT_FOUND('not here'))
    }
  }

  /** Whether a chunk is here and belongs to this bundle. Whoever may have one bundle must learn nothing of others. */
  async #has(list: string, hash: string): Promise<boolean> {
    if (hash === list) return this.#store.has(list)
    const hashes = this.#lists.get(list) ?? (await this.#readList(list))
    return hashes?.has(hash) === true && this.#store.has(hash)
  }

  async #readList(list: string): Promise<ReadonlySet<string> | null> {
    const entries = await this.#store.list(list)
    if (!entries) return null
    const hashes = new Set(entries.map(({ hash }) => hash))
    remember(this.#lists, list, hashes)
    return hashes
  }

  /** Answers those who wait, if that is possible now. */
  #answerWaiting(list: string, hash?: string) {
    const again: [peer: ChunkPeer, want: Want][] = []
    for (const [peer, wants] of this.#waiting) {
      for (const want of wants) {
        const isMeant = want.list === list && (hash === undefined || want.hash === hash)
        if (want.isOver || isMeant) wants.delete(want)
        if (isMeant && !want.isOver) again.push([peer, want])
      }
      if (wants.size === 0) this.#waiting.delete(peer)
    }
    for (const [peer, want] of again) void this.#onwant(peer, want)
  }

  /** Tells peers that wait of progress, if it comes from a source that has the whole bundle. */
  #tellProgress(key: string) {
    const { progressInterval = PROGRESS_INTERVAL_MS } = this.#options
    if (this.#waiting.size === 0 || performance.now() - this.#toldAt < progressInterval) return
    for (const [peer, wants] of this.#waiting) {
      const isComing = [...wants].some(({ list }) => this.#fetches.get(list)?.fetch.isGiver(key))
      if (!isComing) continue
      this.#toldAt = performance.now()
      peer.progress()
    }
  }

  /** Ends the streams that were opened here and are not used, because they keep links open. */
  #endIdle() {
    if (this.#fetches.size > 0) return
    for (const peer of this.#lent) if (peer.isIdle) peer.end()
  }
}

/** Adds to a map that keeps the last few. */
function remember<T>(map: Map<string, T>, key: string, value: T) {
  const [oldest] = map.keys()
  if (map.size >= MAX_LISTS && oldest !== undefined && !map.has(key)) map.delete(oldest)
  map.set(key, value)
}

function closed(): SeaportError {
  return SeaportError.CLOSED('the exchange of chunks was closed')
}
