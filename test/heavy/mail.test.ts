import { resolve } from 'node:path'
import t, { type Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { slowness } from '../watchdog.js'
import { Hosts, noHosts } from './hosts.js'
import { folderHas, memoryHas } from './memory.js'

const CORRESPOND = resolve(import.meta.dirname, 'fixtures/correspond.js')
const SECRET = 'the-words-that-b-must-never-see'
const MAX_P50_MS = 10
const LETTERS = 52

interface Place {
  address: string
  at: string[]
}

/** Hosts, the two that write to each other, and those that registrars are on. */
interface Layout {
  writer: Place
  reader: Place
  between: Place[]
  /** Where the DHT is, of which all hear. */
  dht: Place
}

/** A writes to C; whoever is between them passes the letters on, and has none of their words. */
async function correspond(t: Test, { writer, reader, between, dht }: Layout) {
  const cli = new Cli(t)
  const node = cli.start(['bootstrap', '--host', dht.address], { at: dht.at })
  const bootstrap = await node.waitForLine('bootstrap=')
  const { registryPublicKey } = cli.seed()
  const registries = await Promise.all(
    between.map(async ({ address, at }, i) => {
      const flags = ['--bootstrap', bootstrap, '--host', address, '--relay', 'off', '--verbose']
      const running = cli.start(['registry', ...flags, '--dir', cli.path(`registry${i}`)], { at })
      await running.waitForLine('registryPublicKey=')
      return running
    })
  )
  const peer = (name: string, { address, at }: Place, ...more: string[]) =>
    cli.start([registryPublicKey, bootstrap, address, cli.path(name), ...more], {
      at,
      program: CORRESPOND
    })
  const receiver = peer('c', reader)
  const key = await receiver.waitForLine('key=', 60_000)
  const sender = peer('a', writer, key, SECRET)
  const author = await sender.waitForLine('key=', 60_000)
  const { first: once, p50, by } = JSON.parse(await sender.waitForLine('times=', 60_000))
  t.same(by, [key], 'C signed for all of them')
  t.ok(p50 <= MAX_P50_MS * slowness(), `the first took ${once} ms, then ${p50} ms`)
  const got = receiver.lines.stdout.filter((line) => line.startsWith('got '))
  const letters = got.map((line) => JSON.parse(line.slice(4)))
  t.same(
    letters.map(({ body }) => body),
    letters.map((_, i) => `${SECRET} ${i}`),
    'each once, and in order'
  )
  t.equal(letters.length, LETTERS)
  t.ok(letters.every(({ from }) => from === author))
  for (const [i, registry] of registries.entries()) {
    t.notOk(memoryHas(registry.pid, SECRET), 'who is between them has none of it in memory')
    t.ok(memoryHas(registry.pid, registryPublicKey), 'where what it has is found')
    t.notOk(folderHas(cli.path(`registry${i}`), Buffer.from(SECRET)), 'nor on its disk')
    t.notOk(said(registry).includes(SECRET), 'nor has it said it')
  }
  await sender.kill('SIGTERM')
  await receiver.kill('SIGTERM')
}

function said({ lines }: Running): string {
  return [...lines.stdout, ...lines.stderr].join('\n')
}

/** Hosts of these names, where only those are joined that are named together. */
function joined(hosts: Hosts, network: string, names: string, edges: string[]): Place[] {
  const places = [...names].map((name, i) => {
    const address = `${network}.${i + 1}`
    return { name, address, at: hosts.add(name, address) }
  })
  for (const [i, { name: one }] of places.entries()) {
    for (const { name: other } of places.slice(i + 1)) {
      const isJoined = edges.includes(one + other) || edges.includes(other + one)
      if (!isJoined) hosts.cut(one, other)
    }
  }
  return places
}

t.test(
  'on a line of three hosts letters go by the one in the middle, which never has their words',
  { skip: noHosts, timeout: 120_000 },
  async (t) => {
    const [a, b, c] = joined(new Hosts(t), '10.79.0', 'abc', ['ab', 'bc']) as [Place, Place, Place]
    await correspond(t, { writer: a, reader: c, between: [b], dht: b })
  }
)

t.test(
  'on a longer line they go by two registrars, which never have their words',
  { skip: noHosts, timeout: 120_000 },
  async (t) => {
    const hosts = new Hosts(t)
    const edges = ['ab', 'bd', 'dc', 'na', 'nb', 'nc', 'nd']
    const places = joined(hosts, '10.80.0', 'abdcn', edges)
    const [a, b, d, c, n] = places as [Place, Place, Place, Place, Place]
    await correspond(t, { writer: a, reader: c, between: [b, d], dht: n })
  }
)

t.test(
  'between two routers that give each call another port they go by the registrar, which alone is public',
  { skip: noHosts, timeout: 120_000 },
  async (t) => {
    const hosts = new Hosts(t)
    const place = (name: string, number: number, address: string): Place => ({
      address: `192.168.${number}.2`,
      at: hosts.addOf('symmetric', name, number, address)
    })
    const b = { address: '45.45.45.2', at: hosts.add('b', '45.45.45.2') }
    const [a, c] = [place('a', 1, '45.45.45.3'), place('c', 2, '45.45.45.4')]
    await correspond(t, { writer: a, reader: c, between: [b], dht: b })
  }
)
