import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Cli } from '../bin/cli.js'
import { slowness } from '../watchdog.js'

const CORRESPOND = resolve(import.meta.dirname, 'fixtures/correspond.js')
const FLOODER = resolve(import.meta.dirname, 'fixtures/mail-flooder.js')
/** Burns part of one core, for as long as it runs. */
const BURN = `const busy = Number(process.argv[1]) * 20
setInterval(() => { const end = performance.now() + busy; while (performance.now() < end); }, 20)`
const FRAMES_PER_SECOND = 10_000
const TICKS_PER_SECOND = 100
const MIB = 1024 * 1024
/** What a flood may add to the memory of who passes letters on, in bytes. */
const MAX_ADDED = 64 * MIB
const SETTLED_MS = 2000

/** CPU that a process has used, in s. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

t.test(
  'a flooder is held to its quota, and costs others no more than the same CPU burnt beside them',
  { timeout: 200_000 },
  async (t) => {
    const cli = new Cli(t)
    const bootstrap = await cli.island()
    const { registryPublicKey } = cli.seed()
    const registry = cli.start(['registry', '--dir', cli.path('registry')])
    await registry.waitForLine('registryPublicKey=')
    const peer = (name: string, ...more: string[]) =>
      cli.start([registryPublicKey, bootstrap, '127.0.0.1', cli.path(name), ...more], {
        program: CORRESPOND,
        env: { LINKS: 'off' }
      })
    const reader = peer('c')
    const key = await reader.waitForLine('key=', 60_000)
    const measure = async (name: string, text: string) => {
      const sender = peer(name, key, text)
      const { p50, by, links } = JSON.parse(await sender.waitForLine('times=', 60_000))
      await sender.kill('SIGTERM')
      t.same(by, [key])
      t.equal(links, 0)
      return p50 as number
    }
    const flood = [registryPublicKey, bootstrap, cli.path('flooder'), key]
    const victim = toHex(KeyPair().publicKey)
    const flooder = cli.start([...flood, victim, String(FRAMES_PER_SECOND)], { program: FLOODER })
    await flooder.waitForLine('flooding', 60_000)
    await sleep(SETTLED_MS)
    const all = [registry.pid, flooder.pid, reader.pid]
    const [before, since] = [all.map(cpuOf), performance.now()]
    const memory = memoryOf(registry.pid)
    const flooded = await measure('a', 'under a flood')
    const took = (performance.now() - since) / 1000
    const shares = all.map((pid, i) => (cpuOf(pid) - (before[i] ?? 0)) / took)
    const added = memoryOf(registry.pid) - memory
    await flooder.kill('SIGTERM')
    const { sent } = JSON.parse(await flooder.waitForLine('sent='))
    const burning = shares.map((share) =>
      cli.start([String(Math.min(share, 1))], { program: cli.write('burn.cjs', burnt()) })
    )
    const burned = await measure('b', 'beside burnt CPU')
    for (const one of burning) await one.kill('SIGTERM')
    const got = reader.lines.stdout.filter((line) => line.startsWith('got '))
    const floods = got.filter((line) => line.includes('"flood"'))
    t.comment(`${sent} frames, of which ${floods.length} letters came; the CPU of ${shares}`)
    t.comment(`p50 ${flooded.toFixed(1)} ms under it, ${burned.toFixed(1)} beside the same CPU`)
    t.ok(sent > FRAMES_PER_SECOND, 'it was a flood')
    t.ok(
      flooded <= 2 * burned * slowness(),
      `p50 ${flooded} ms, and ${burned} beside the same CPU burnt`
    )
    t.ok(added <= MAX_ADDED, `${Math.round(added / MIB)} MiB more`)
    t.equal(new Set(floods).size, floods.length, 'what was repeated came once')
  }
)

function burnt(): string {
  return BURN.replace('process.argv[1]', 'process.argv[2]')
}
