import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Cli } from '../bin/cli.js'
import { Hosts, noHosts } from './hosts.js'
import { type Correspondent, Post } from './post.js'

/** What a letter of 60 KiB costs on each hop at most, and one hop more in all. */
const HOP_BYTES = 66 * 1024
/** And each connection beside, in bytes. */
const CONNECTION_BYTES = 100
/** How long what passes anyway is measured, in ms. */
const IDLE_MS = 2000
const LETTERS = 3
const CROWD = 17

/** Bytes that left through an interface of a host. */
function bytesOf(at: string[], name: string): number {
  const [command = '', ...args] = [...at, 'cat', `/sys/class/net/${name}/statistics/tx_bytes`]
  return Number(execFileSync(command, args).toString())
}

/** What a letter of 60 KiB adds to what passes anyway, in bytes: the least of three, as other things are said now and then. */
async function costOf(writer: Correspondent, passed: () => number): Promise<number> {
  const costs: number[] = []
  while (costs.length < LETTERS) {
    const before = passed()
    await sleep(IDLE_MS)
    const rate = (passed() - before) / IDLE_MS
    const [since, start] = [performance.now(), passed()]
    process.kill(writer.running.pid, 'SIGUSR1')
    const isDelivered = ({ receipts }: Correspondent) =>
      receipts.filter(({ status }) => status === 'delivered').length > costs.length
    await writer.until(isDelivered, 'not delivered')
    costs.push(passed() - start - rate * (performance.now() - since))
  }
  return Math.min(...costs)
}

t.test(
  'in a ring of five hosts a large letter comes once, and crosses each wire of its way once',
  { skip: noHosts, timeout: 200_000 },
  async (t) => {
    const hosts = new Hosts(t)
    const ring = ['a', 'b', 'c', 'd', 'e'].map((name, i) => {
      const host = `10.81.0.${i + 1}`
      return { name, host, at: hosts.add(name, host) }
    })
    const node = hosts.add('n', '10.81.0.9')
    for (const [i, { name }] of ring.entries()) {
      for (const step of [2, 3]) {
        const other = ring[i + step]
        if (other) hosts.cut(name, other.name)
      }
    }
    const cli = new Cli(t)
    const dht = cli.start(['bootstrap', '--host', '10.81.0.9'], { at: node })
    const post = new Post(cli, await dht.waitForLine('bootstrap='))
    await post.registry.kill('SIGKILL')
    const [a, b, c, d, e] = ring as [Ends, Ends, Ends, Ends, Ends]
    for (const { name, host, at } of [b, e]) {
      const flags = ['--bootstrap', post.bootstrap, '--host', host, '--relay', 'off']
      const registry = cli.start(['registry', ...flags, '--dir', cli.path(name)], { at })
      await registry.waitForLine('registryPublicKey=')
    }
    await post.peer('d', { host: d.host }, d.at)
    const reader = await post.peer('c', { host: c.host }, c.at)
    const told = { host: a.host, links: false, large: reader.key }
    const writer = await post.peer('a', told, a.at)
    const cost = await costOf(writer, () =>
      ring.reduce((sum, { at }) => sum + bytesOf(at, 'eth0'), 0)
    )
    t.equal(reader.got.length, LETTERS)
    const most = 3 * HOP_BYTES + ring.length * CONNECTION_BYTES
    t.ok(cost <= most, `${Math.round(cost)} bytes over two hops, ${most} at most`)
  }
)

interface Ends {
  name: string
  host: string
  at: string[]
}

t.test(
  'in a mesh of twenty a large letter comes once, and crosses few of its wires',
  { skip: noHosts, timeout: 300_000 },
  async (t) => {
    // On a host of their own, so that nothing else passes there.
    const at = new Hosts(t).add('m', '10.82.0.1')
    const cli = new Cli(t)
    const dht = cli.start(['bootstrap'], { at })
    const post = new Post(cli, await dht.waitForLine('bootstrap='))
    await post.registry.kill('SIGKILL')
    const flags = ['--bootstrap', post.bootstrap, '--dir', cli.path('r')]
    const registry = cli.start(['registry', ...flags], { at })
    await registry.waitForLine('registryPublicKey=')
    await post.peer('crowd', { others: CROWD - 1 }, at)
    const reader = await post.peer('c', {}, at)
    const writer = await post.peer('a', { links: false, large: reader.key }, at)
    const members = CROWD + 3
    const cost = await costOf(writer, () => bytesOf(at, 'lo'))
    t.equal(reader.got.length, LETTERS)
    const most = 3 * HOP_BYTES + ((members * (members - 1)) / 2) * CONNECTION_BYTES
    t.ok(cost <= most, `${Math.round(cost)} bytes, ${most} at most`)
  }
)
