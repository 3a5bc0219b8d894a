/**
 * `npm run bench:spread`: a bundle from one deployer to five hosts, whose own line is the limit. Each is in a network namespace of its
 * own, so it needs root. Usage: node dist/bench/spread.js [MB] [Mbit/s] [runs]
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { KeyPair, toHex } from '../lib/core/keys.js'
import { encodeChunkList } from '../lib/hosting/bundle/chunk.js'
import { ChunkStore } from '../lib/hosting/bundle/chunk-store.js'
import { Hosts } from '../test/heavy/hosts.js'
import type { MooringTerms } from './actors/mooring.js'
import { Child, stopAll } from './child.js'
import { describe, thisMachine } from './machine.js'
import { median } from './statistics.js'

const OUT = resolve(import.meta.dirname, '../../bench/results/spread.json')
const ACTORS = resolve(import.meta.dirname, 'actors')
const [MB = 200, MBIT = 40, RUNS = 3] = process.argv.slice(2).map(Number)
const HOSTS = 5
const CHUNK_BYTES = 1_000_000
const DHT = '45.45.45.200'
const TAKE_PORT = 7000
const DIRECT_PORT = 7777
const TIMEOUT_MS = 1_800_000

type Way = 'direct' | 'UDX'

interface Copy {
  /** Until the last host has all, in s. */
  seconds: number
  /** What left the deployer's interface, of the bundle's bytes. */
  share: number
  /** Of one host and of the deployer, in ms for each MB. */
  hostCpu?: number
  pusherCpu?: number
}

const closes: (() => unknown)[] = []
const hosts = new Hosts({ teardown: (close) => closes.unshift(close) })
const places = Array.from({ length: HOSTS + 1 }, (_, i) => ({
  address: `45.45.45.${i + 1}`,
  at: hosts.add(`m${i}`, `45.45.45.${i + 1}`)
}))
const line = places[HOSTS]?.at ?? []
const dhtAt = hosts.add('dht', DHT)
const machine = thisMachine()
console.log(describe(machine))
try {
  await actor(dhtAt, join(ACTORS, 'dht.js'), DHT).waitForLine('ready')
  const limit = ['rate', `${MBIT}mbit`, 'burst', '64kb', 'latency', '50ms']
  run(line, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', ...limit)
  const results: Record<string, Copy> = {
    'one plain TCP copy': await middle(() => plainCopies(1)),
    'five plain TCP copies at once': await middle(() => plainCopies(HOSTS)),
    'hyperseaport, direct': await middle(() => spread('direct')),
    'hyperseaport, UDX': await middle(() => spread('UDX'))
  }
  console.log(`\n${MB} MB to ${HOSTS} hosts, over a line of ${MBIT} Mbit/s, median of ${RUNS}`)
  console.table(results)
  mkdirSync(dirname(OUT), { recursive: true })
  const report = { date: new Date().toISOString(), machine, MB, MBIT, RUNS, results }
  writeFileSync(OUT, `${JSON.stringify(report, null, 2)}\n`)
} finally {
  await stopAll()
  for (const close of closes) close()
}
process.exit()

async function plainCopies(count: number): Promise<Copy> {
  const takers = places.slice(0, count)
  const script = join(ACTORS, 'plain-copy.js')
  const children = takers.map(({ at, address }) =>
    actor(at, script, 'take', String(TAKE_PORT), address)
  )
  await Promise.all(children.map((child) => child.waitForLine('ready')))
  const copy = await timed(async () => {
    const targets = takers.map(({ address }) => `${address}:${TAKE_PORT}`)
    const giver = actor(line, script, 'give', String(MB * 1e6), ...targets)
    await giver.waitForLine('given', TIMEOUT_MS)
  })
  await Promise.all(children.map((child) => child.stop('SIGKILL')))
  return copy
}

async function spread(way: Way): Promise<Copy> {
  const dir = mkdtempSync(join(tmpdir(), 'hyperseaport-spread-'))
  const seeds = places.map(() => randomBytes(32).toString('hex'))
  const keys = seeds.map((seed) => toHex(KeyPair(seed).publicKey))
  const peers = keys.slice(0, HOSTS)
  const entries = peers.map((key, i) => [key, `${places[i]?.address}:${DIRECT_PORT}`] as const)
  const direct = way === 'direct' ? Object.fromEntries(entries) : {}
  const list = await fill(join(dir, String(HOSTS)))
  const children: Child[] = []
  try {
    for (const [i, { at, address }] of places.entries()) {
      const terms: MooringTerms = {
        seed: seeds[i] as string,
        address,
        bootstrap: `${DHT}:49737`,
        dir: join(dir, String(i)),
        direct,
        peers,
        pusher: keys[HOSTS] as string
      }
      const child = actor(at, join(ACTORS, 'mooring.js'), JSON.stringify(terms))
      children.push(child)
      await child.waitForLine('ready')
    }
    const pusher = children[HOSTS] as Child
    for (const key of peers) await told(pusher, `join ${key}`)
    const before = await told(pusher, 'rest 1')
    const cpus: number[] = []
    const copy = await timed(async () => {
      const fetches = children.slice(0, HOSTS).map((child) => told(child, `fetch ${list}`))
      cpus.push(...(await Promise.all(fetches)))
    })
    const pusherCpu = (await told(pusher, 'rest 2')) - before
    return { ...copy, hostCpu: rounded(median(cpus) / MB), pusherCpu: rounded(pusherCpu / MB) }
  } finally {
    await Promise.all(children.map((child) => child.stop('SIGKILL')))
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Has an actor do something. Returns what all that it did has cost so far, in ms of CPU. */
async function told(child: Child, what: string): Promise<number> {
  child.write(`${what}\n`)
  return Number(await child.waitForLine(`${what} done=`, TIMEOUT_MS))
}

/** Stores a bundle of random bytes. */
async function fill(dir: string): Promise<string> {
  const store = new ChunkStore(dir, { minFree: 0 })
  const entries = []
  for (let i = 0; i < MB; i++) {
    entries.push({ hash: await store.write(randomBytes(CHUNK_BYTES)), size: CHUNK_BYTES })
  }
  return store.write(encodeChunkList(entries))
}

async function timed(act: () => Promise<void>): Promise<Copy> {
  const [since, before] = [performance.now(), bytesSent()]
  await act()
  const seconds = (performance.now() - since) / 1000
  return { seconds: rounded(seconds), share: rounded((bytesSent() - before) / (MB * 1e6), 1000) }
}

/** The run in the middle, by its time. */
async function middle(measure: () => Promise<Copy>): Promise<Copy> {
  const copies: Copy[] = []
  for (let i = 0; i < RUNS; i++) copies.push(await measure())
  return copies.sort((a, b) => a.seconds - b.seconds)[RUNS >> 1] as Copy
}

/** By the deployer's interface, since it was made. */
function bytesSent(): number {
  return Number(run(line, 'cat', '/sys/class/net/eth0/statistics/tx_bytes'))
}

function actor([program = '', ...words]: string[], script: string, ...args: string[]): Child {
  const command = [...words, process.execPath, script, ...args]
  return new Child(program, command, { name: script.replace(/.*\//, '') })
}

function run([program = '', ...words]: string[], ...args: string[]): string {
  return execFileSync(program, [...words, ...args], { encoding: 'utf8' })
}

function rounded(value: number, to = 10): number {
  return Math.round(value * to) / to
}
