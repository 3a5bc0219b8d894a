import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MAX_CHUNK_BYTES } from '../../lib/hosting/bundle/chunk.js'
import type { AppStatement } from '../../lib/registry/trust/app-statement.js'
import type { Child } from './fixtures/child.js'
import { noHosts } from './hosts.js'
import { IDLE, Machines } from './machines.js'
import { atRest, PATIENCE_MS } from './rest.js'
import { untilNothing } from './until.js'

const APP = 'crew'
const BUNDLE_BYTES = 20_000_000
/** So that a push takes some seconds. */
const LINE = ['rate', '40mbit', 'burst', '64kb', 'latency', '50ms']
/** What packets and the registry add to a bundle. */
const MAX_OVERHEAD = 0.1
/** How many chunks may leave twice, as both hosts asked for them when one had lost the deployer. */
const MAX_TWICE = 2

t.test(
  'of two who update an app on two sides of a partition one wins everywhere, and each side runs its own until then',
  { skip: noHosts },
  async (t) => {
    const machines = await Machines.make(t, ['one', 'two', 'three', 'four'])
    const write = (version: string) =>
      machines.app({ name: APP, version, port: false, instances: 2, command: IDLE })
    await machines.ask('run', write('1.0.0'))
    await atRest(machines, { [APP]: 2 })
    const sides = [
      { names: ['one', 'two'], version: '2.0.0', deployer: await machines.startDeployer('two') },
      { names: ['three', 'four'], version: '3.0.0', deployer: await machines.startDeployer('four') }
    ]
    machines.divide(...sides.map(({ names }) => names))
    for (const { names, version, deployer } of sides) {
      await deployer.ask('run', write(version))
      await untilNothing(async () => {
        const versions = await versionsOn(machines, names)
        return `${versions}` === `${[version, version]}` ? null : `${names} run ${versions}`
      }, PATIENCE_MS)
    }
    machines.heal()
    await atRest(machines, { [APP]: 2 })
    const told = async ({ deployer }: { deployer: Child<object> }) => {
      const [statement] = await deployer.ask<AppStatement[]>('list')
      return statement?.version ?? 'none'
    }
    let winner = ''
    await untilNothing(async () => {
      const [one, other] = await Promise.all(sides.map(told))
      winner = one ?? ''
      const running = await versionsOn(machines, machines.names)
      const isOne = one === other && `${running}` === `${[one, one]}`
      return isOne ? null : `${one} and ${other} are wanted, ${running} run`
    }, PATIENCE_MS)
    t.comment(`${winner} has won`)
    t.ok(['2.0.0', '3.0.0'].includes(winner))
  }
)

t.test(
  'a push that is killed in the middle goes on where it was, and sends none of the chunks twice that had come',
  { skip: noHosts },
  async (t) => {
    const machines = await Machines.make(t, ['laptop', 'one', 'two'], {
      registrars: ['one'],
      hosts: ['one', 'two']
    })
    const folder = machines.app({ name: APP, version: '1.0.0', port: false, command: IDLE })
    await writeFile(join(folder, 'data.bin'), randomBytes(BUNDLE_BYTES))
    const { at } = machines.machine('laptop')
    run([...at, 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', ...LINE])
    const sent = () => Number(run([...at, 'cat', '/sys/class/net/eth0/statistics/tx_bytes']))
    const before = sent()
    const first = await machines.startDeployer('laptop')
    const cut = first.ask('run', folder).catch((error: Error) => error.message)
    await untilNothing(async () => {
      const bytes = sent() - before
      return bytes > BUNDLE_BYTES / 2 ? null : `${bytes} bytes left`
    }, PATIENCE_MS)
    await first.kill('SIGKILL')
    t.match(await cut, /it ended/)
    const [had, until] = [await bytesOn(machines, ['one', 'two']), sent()]
    t.ok(had > 0)
    const second = await machines.startDeployer('laptop')
    await second.ask('run', folder)
    await atRest(machines, { [APP]: 1 })
    const [more, missing] = [sent() - until, BUNDLE_BYTES - had]
    t.comment(`${had} bytes had come, ${more} left for the other ${missing}`)
    t.ok(more <= missing * (1 + MAX_OVERHEAD) + MAX_TWICE * MAX_CHUNK_BYTES, `${more} bytes left`)
  }
)

/** How much of all chunks some host has. */
async function bytesOn(machines: Machines, names: readonly string[]): Promise<number> {
  const sizes = new Map<string, number>()
  for (const folder of names.map((name) => join(machines.folderOf(name), 'chunks'))) {
    // What has not come whole is not in a folder of its own.
    const whole = (await readdir(folder, { recursive: true })).filter((file) => file.includes('/'))
    for (const file of whole) sizes.set(file, (await stat(join(folder, file))).size)
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

async function versionsOn(machines: Machines, names: readonly string[]): Promise<string[]> {
  const running = await machines.running(APP)
  const here = running.filter(({ env }) => names.includes(env.APP_HOST ?? ''))
  return here.map(({ env }) => env.APP_VERSION ?? '').sort()
}

function run([command = '', ...words]: string[]): string {
  return `${execFileSync(command, words)}`
}
