/**
 * Somebody with chunks, or who wants some. The argument is `MooringTerms` in JSON. It is told what to do by lines: `join
 * KEY` opens a stream to a host, `fetch LIST` fetches a bundle, `rest 1` does nothing. It says when that is done, and what
 * all of it has cost.
 */
import { createInterface } from 'node:readline'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Network } from '../../lib/core/network.js'
import { ChunkStore } from '../../lib/hosting/bundle/chunk-store.js'
import { ChunkExchange } from '../../lib/hosting/chunks/chunk-exchange.js'
import { CHUNKS } from '../../lib/hosting/chunks/chunk-frames.js'
import { Acceptor } from '../../lib/link/acceptor.js'
import { DirectConnector } from '../../lib/link/direct/connector.js'
import { DirectListener } from '../../lib/link/direct/listener.js'
import { LinkPool } from '../../lib/link/pool.js'

export interface MooringTerms {
  seed: string
  address: string
  bootstrap: string
  dir: string
  /** Where each host takes links by TCP, by its key; nobody does over UDX alone. */
  direct: Record<string, string>
  /** The keys of the hosts, and of the deployer. */
  peers: string[]
  pusher: string
}

const terms = JSON.parse(process.argv[2] ?? '') as MooringTerms
const { address, bootstrap, direct, peers, pusher } = terms
const keyPair = KeyPair(terms.seed)
const key = toHex(keyPair.publicKey)
const network = new Network({ bootstrap, host: address })
await network.ready()
const pool = new LinkPool({
  connect: (remote) => network.dht.connect(remote, { keyPair }),
  connector: new DirectConnector({
    keyPair: () => keyPair,
    addressesOf: (remote) => [direct[toHex(remote)] ?? []].flat()
  })
})
const exchange = new ChunkExchange({
  store: new ChunkStore(terms.dir, { minFree: 0 }),
  key,
  authorize: () => true,
  connect: (remote, signal) => pool.open(remote, { purpose: CHUNKS, signal })
})
if (key !== pusher) await takeLinks()
console.log('ready')

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, what = ''] = line.split(' ')
  if (verb === 'join') await exchange.join(what)
  else if (verb === 'fetch') await exchange.fetch(what, { sources: { pusher, peers } })
  const { user, system } = process.cpuUsage()
  console.log(`${verb} ${what} done=${(user + system) / 1000}`)
}
process.exit()

async function takeLinks() {
  const acceptor = new Acceptor({ dht: network.dht, keyPair })
  acceptor.handle(CHUNKS, (stream, remote) => exchange.accept(stream, remote))
  await acceptor.ready()
  const port = Number(direct[key]?.split(':')[1])
  if (!port) return
  const listener = new DirectListener({
    keyPair,
    hosts: () => [address],
    port,
    onconnection: (connection) => acceptor.take(connection, 'direct')
  })
  await listener.ready()
}
