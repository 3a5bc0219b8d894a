import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { Abort } from '../../../lib/core/abort.js'
import { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { type ChunkEntry, encodeChunkList, hashOf } from '../../../lib/hosting/bundle/chunk.js'
import { ChunkStore } from '../../../lib/hosting/bundle/chunk-store.js'
import {
  ChunkExchange,
  type ChunkExchangeOptions
} from '../../../lib/hosting/chunks/chunk-exchange.js'
import { CHUNKS } from '../../../lib/hosting/chunks/chunk-frames.js'
import { Link } from '../../../lib/link/link.js'
import type { LinkStream } from '../../../lib/link/stream.js'
import { type Pair, secretPair } from '../../link/pair.js'
import { aFolder } from '../bundle/folders.js'

/** Somebody with a store, and links in memory to the others. */
export interface Berth {
  key: string
  keyPair: KeyPair
  store: ChunkStore
  exchange: ChunkExchange
  notices: SeaportError[]
  /** Whether others can open streams to it. */
  isReachable: boolean
  pairs: Pair[]
  /** Opens a stream of chunks to a key. */
  connect(to: string): Promise<LinkStream>
}

/** Makes berths, all of which can reach each other. */
export function quay(t: Test) {
  const berths = new Map<string, Berth>()
  const stop = new Abort()
  t.teardown(() => stop.abort(SeaportError.CLOSED('the test is over')))

  /** @param same whose key it has, too */
  async function berth(options: Partial<ChunkExchangeOptions> = {}, same?: Berth): Promise<Berth> {
    const keyPair = same?.keyPair ?? KeyPair()
    const key = toHex(keyPair.publicKey)
    const store = options.store ?? new ChunkStore(await aFolder(t), { minFree: 0 })
    const notices: SeaportError[] = []
    const exchange = new ChunkExchange({
      store,
      key,
      authorize: () => true,
      connect: (to) => connect(toHex(to)),
      // A busy machine may do nothing for a while.
      stallTimeout: 60_000,
      pause: 10,
      ...options
    })
    const made: Berth = {
      key,
      keyPair,
      store,
      exchange,
      notices,
      isReachable: true,
      pairs: [],
      connect
    }
    exchange.on('notice', (notice) => notices.push(notice))
    t.teardown(() => exchange.close())
    berths.set(key, made)
    return made

    async function connect(to: string): Promise<LinkStream> {
      const other = berths.get(to)
      if (!other?.isReachable) throw SeaportError.LINK_LOST('it cannot be reached')
      const pair = secretPair(t, keyPair)
      made.pairs.push(pair)
      other.pairs.push(pair)
      const opener = new Link(pair.initiator)
      new Link(pair.responder, {
        onincoming: (incoming) => {
          const stream = incoming.accept()
          if (stream) other.exchange.accept(stream, keyPair.publicKey)
        }
      })
      return opener.open({ purpose: CHUNKS, signal: stop })
    }
  }
  return { berth }
}

/** Stores a bundle of random chunks. */
export async function aBundle(
  store: ChunkStore,
  sizes: readonly number[]
): Promise<{ list: string; entries: ChunkEntry[] }> {
  const entries: ChunkEntry[] = []
  for (const size of sizes) {
    const chunk = randomBytes(size)
    entries.push({ hash: hashOf(chunk), size })
    await store.write(chunk)
  }
  return { list: await store.write(encodeChunkList(entries)), entries }
}
