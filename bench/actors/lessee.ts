/**
 * Registers services of fresh keys, so many at a time, on one connection to a registrar, and holds their
 * leases until stdin ends. Arguments: bootstrap, registry's public key, services, how many at a time, how many
 * more one by one, services of one role. Says `ready` once the records are signed, begins when it is told
 * `go`, and reports the rate per second, the latencies, and what verifying one signature costs here, in µs.
 * Told to go again, it registers the others, and says `moments=` when each began, in ms of the machine's clock.
 */
import { once } from 'node:events'
import { setTimeout as after } from 'node:timers/promises'
import { KeyPair, parseKey, toHex } from '../../lib/core/keys.js'
import { Network } from '../../lib/core/network.js'
import { Membership } from '../../lib/registry/swarm/membership.js'
import type { Peer } from '../../lib/registry/swarm/peer.js'
import { Peering } from '../../lib/registry/swarm/peering.js'
import { signRecord, verifyRecord } from '../../lib/registry/trust/record.js'
import { untilFinished } from '../child.js'
import { percentile } from '../statistics.js'
import { monotonic } from './monotonic.js'
import { report } from './tcp.js'

const [bootstrap = '', registryPublicKey = '', ...numbers] = process.argv.slice(2)
const [services = 1, width = 32, singles = 0, perRole = 100] = numbers.map(Number)
/** Between those that come one by one, in ms. */
const PAUSE_MS = 10

const registry = parseKey(registryPublicKey)
const holderKeyPair = KeyPair()
const holder = toHex(holderKeyPair.publicKey)
const records = Array.from({ length: services + singles }, (_, i) => {
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
  as: 'observer'
})
const peers: Promise<[Peer]> = once(peering, 'peer') as Promise<[Peer]>
await peering.ready()
const [peer] = await peers
await once(peer, 'ping')

console.log('ready')
process.stdin.resume()
await once(process.stdin, 'data')

const latencies: number[] = []
const many = records.slice(0, services)
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

await once(process.stdin, 'data')
const moments: [key: string, at: number][] = []
for (const record of records.slice(services)) {
  moments.push([record.key, monotonic()])
  await peer.lease(record)
  await after(PAUSE_MS)
}
console.log(`moments=${JSON.stringify(moments)}`)
await untilFinished()
process.exit()

async function client() {
  for (let i = next++; i < many.length; i = next++) {
    const record = many[i]
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
