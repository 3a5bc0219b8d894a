/**
 * Registers services of fresh keys, so many at a time, on one connection to a registrar, and holds their
 * leases until stdin ends. Arguments: bootstrap, registry's public key, services, how many at a time,
 * services of one role. Says `ready` once the records are signed, begins when it is told `go`, and reports
 * the rate per second, the latencies, and what verifying one signature costs here, in µs.
 */
import { once } from 'node:events'
import { KeyPair, parseKey, toHex } from '../../lib/keys.js'
import { Network } from '../../lib/network.js'
import { Membership } from '../../lib/registry/membership.js'
import type { Peer } from '../../lib/registry/peer.js'
import { Peering } from '../../lib/registry/peering.js'
import { signRecord, verifyRecord } from '../../lib/registry/record.js'
import { untilFinished } from '../child.js'
import { percentile } from '../statistics.js'
import { report } from './tcp.js'

const [bootstrap = '', registryPublicKey = '', ...numbers] = process.argv.slice(2)
const [services = 1, width = 32, perRole = 100] = numbers.map(Number)

const registry = parseKey(registryPublicKey)
const holderKeyPair = KeyPair()
const holder = toHex(holderKeyPair.publicKey)
const records = Array.from({ length: services }, (_, i) => {
  const keyPair = KeyPair()
  const fields = {
    role: `bench-${Math.floor(i / perRole)}`,
    version: `1.${i % 10}.0`,
    status: 'passing',
    holder,
    seq: Date.now()
  } as const
  return signRecord(registry, keyPair, { ...fields, tags: ['bench'], direct: ['10.0.0.1:40000'] })
})

const verify = costOfVerifying()

const network = new Network({ bootstrap })
await network.ready()
const peering = new Peering({
  network,
  registry,
  keyPair: holderKeyPair,
  membership: new Membership(registry),
  as: 'passer-by'
})
const peers: Promise<[Peer]> = once(peering, 'peer') as Promise<[Peer]>
await peering.ready()
const [peer] = await peers
await once(peer, 'ping')

console.log('ready')
process.stdin.resume()
await once(process.stdin, 'data')

const latencies: number[] = []
const began = performance.now()
let next = 0
await Promise.all(Array.from({ length: width }, client))
const took = performance.now() - began
await report({
  rate: (services / took) * 1000,
  p50: percentile(latencies, 0.5),
  p99: percentile(latencies, 0.99),
  verify
})
await untilFinished()
process.exit()

async function client() {
  for (let i = next++; i < records.length; i = next++) {
    const record = records[i]
    if (!record) return
    const start = performance.now()
    const { code, text } = await peer.lease(record)
    if (code !== '') throw new Error(`${code}: ${text}`)
    latencies.push(performance.now() - start)
  }
}

/** How fast this machine is just now: half of what a registration costs. */
function costOfVerifying(): number {
  const some = records.slice(0, 500)
  const start = performance.now()
  for (const record of some) verifyRecord(record)
  return ((performance.now() - start) / some.length) * 1000
}
