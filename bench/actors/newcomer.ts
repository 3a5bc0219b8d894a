/**
 * Comes to a registry that it knows nothing of. Arguments: bootstrap, registry's public key, folder, records.
 * Reports after how many ms its directory was ready, and what it takes to resolve a range then, in µs.
 */
import { Consumer } from '../../lib/index.js'
import { percentile } from '../statistics.js'
import { report } from './tcp.js'

const [bootstrap = '', registryPublicKey = '', dir = '', records = ''] = process.argv.slice(2)
const ROLES = 10
const QUESTIONS = 10_000
const PER_ROLE = 100

const consumer = Consumer([], { registryPublicKey, bootstrap, dir, timeout: 300_000 })
const began = performance.now()
await consumer.setup()
const ready = performance.now() - began

const roles = Array.from({ length: ROLES }, (_, i) => `bench-${i}@1.x`)
const known = roles.slice(0, Math.ceil(Number(records) / PER_ROLE))
const firstAt = performance.now()
const found = known.map((role) => consumer.list(role).length)
const first = ((performance.now() - firstAt) * 1000) / known.length
const times: number[] = []
for (let i = 0; i < QUESTIONS; i++) {
  const start = performance.now()
  consumer.list(known[i % known.length])
  times.push((performance.now() - start) * 1000)
}
await report({ ready, first, found, resolve: percentile(times, 0.5) })
process.exit()
