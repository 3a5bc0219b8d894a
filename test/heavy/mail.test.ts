import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'
import { Cli } from '../bin/cli.js'
import { slowness } from '../watchdog.js'
import { Hosts, noHosts } from './hosts.js'

const CORRESPOND = resolve(import.meta.dirname, 'fixtures/correspond.js')
const SECRET = 'the-words-that-b-must-never-see'
const MAX_P50_MS = 10

t.test(
  'on a line of three hosts letters go by the one in the middle, which never has their words',
  { skip: noHosts, timeout: 120_000 },
  async (t) => {
    const hosts = new Hosts(t)
    const cli = new Cli(t)
    const [a, b, c] = ['a', 'b', 'c'].map((name, i) => hosts.add(name, `10.79.0.${i + 1}`)) as [
      string[],
      string[],
      string[]
    ]
    hosts.cut('a', 'c')
    const dht = cli.start(['bootstrap', '--host', '10.79.0.2'], { at: b })
    const bootstrap = await dht.waitForLine('bootstrap=')
    const { registryPublicKey } = cli.seed()
    const flags = ['--bootstrap', bootstrap, '--host', '10.79.0.2', '--relay', 'off']
    const registry = cli.start(['registry', ...flags, '--dir', cli.path('registry')], { at: b })
    await registry.waitForLine('registryPublicKey=')
    const peer = (name: string, address: string, at: string[], ...more: string[]) =>
      cli.start([registryPublicKey, bootstrap, address, cli.path(name), ...more], {
        at,
        program: CORRESPOND
      })
    const receiver = peer('c', '10.79.0.3', c)
    const key = await receiver.waitForLine('key=', 60_000)
    const sender = peer('a', '10.79.0.1', a, key, SECRET)
    const writer = await sender.waitForLine('key=', 60_000)
    const { first, p50, by } = JSON.parse(await sender.waitForLine('times=', 60_000))
    t.same(by, [key], 'C signed for all of them')
    t.ok(p50 <= MAX_P50_MS * slowness(), `the first took ${first} ms, then ${p50} ms`)
    const got = receiver.lines.stdout.filter((line) => line.startsWith('got '))
    const letters = got.map((line) => JSON.parse(line.slice(4)))
    t.same(
      letters.map(({ body }) => body),
      letters.map((_, i) => `${SECRET} ${i}`),
      'each once, and in order'
    )
    t.equal(letters.length, 52)
    t.ok(letters.every(({ from }) => from === writer))
    t.notOk(memoryHas(registry.pid, SECRET), 'B has none of it in memory')
    t.ok(memoryHas(registry.pid, registryPublicKey), 'where what it has is found')
    await sender.kill('SIGTERM')
    await receiver.kill('SIGTERM')
  }
)

/** Whether a process has a text anywhere in what it may write to. */
function memoryHas(pid: number, text: string): boolean {
  const wanted = Buffer.from(text)
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
    return maps.some((line) => {
      const [, from = '0', to = '0', mode = ''] = /^(\w+)-(\w+) (\S+)/.exec(line) ?? []
      if (!mode.startsWith('rw') || line.includes('[vvar')) return false
      return rangeHas(memory, BigInt(`0x${from}`), BigInt(`0x${to}`), wanted)
    })
  } finally {
    closeSync(memory)
  }
}

function rangeHas(memory: number, from: bigint, to: bigint, wanted: Buffer): boolean {
  const piece = Buffer.alloc(1 << 20)
  for (let at = from; at < to; at += BigInt(piece.length - wanted.length)) {
    const length = Number(to - at < BigInt(piece.length) ? to - at : BigInt(piece.length))
    try {
      const read = readSync(memory, piece, 0, length, at)
      if (piece.subarray(0, read).includes(wanted)) return true
    } catch {
      // Not all of what is reserved is there.
    }
  }
  return false
}
