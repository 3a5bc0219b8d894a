/** A LAN whose internet is away: nobody answers where the bootstrap node was. */
import t, { type Test } from 'tap'
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'
import { Cli, type Running } from '../bin/cli.js'
import { answered, list, preparedFor } from '../bin/island.js'
import { inTime } from '../watchdog.js'

/** Within this a verb has to work from what is on its disk, in ms. */
const SOON_MS = 2000

t.test('what runs goes on, and a restarted proxy uses the copy on its disk', async (t) => {
  const { cli, start, registry, node } = await lan(t)
  const service = await start.service('hello@1.0.0')
  const line = ['proxy', '-p', '0', '-r', 'hello@1.x', '--dir', cli.path('proxy')]
  const proxy = cli.start(line)
  const port = await portOf(proxy)
  t.equal(await answered(port), 'hello')

  await node.destroy()
  t.equal(await answered(port), 'hello', 'what runs goes on')
  t.match(await proxy.kill('SIGTERM'), { code: 0 })
  const since = performance.now()
  const next = cli.start(line)
  const nextPort = await portOf(next)
  const took = performance.now() - since
  t.ok(inTime(took, SOON_MS), `a restarted one listens after ${took.toFixed(0)} ms`)
  t.equal(await answered(nextPort), 'hello')
  for (const one of [next, service, registry]) t.match(await one.kill('SIGTERM'), { code: 0 })
})

t.test(
  'a restarted service says its key at once, and is found as soon as a node answers',
  async (t) => {
    const { cli, start, node, port } = await lan(t)
    const line = ['service', '-p', `${start.port}`, '-r', 'hello@1.0.0', '--dir', cli.path('kept')]
    const service = cli.start(line)
    const key = await service.waitForLine('started p2p service on ')
    await service.waitForLine('registered service')
    await node.destroy()
    t.match(await service.kill('SIGTERM'), { code: 0 })

    const since = performance.now()
    const next = cli.start(line)
    t.equal(await next.waitForLine('started p2p service on '), key)
    const took = performance.now() - since
    t.ok(inTime(took, SOON_MS), `its key after ${took.toFixed(0)} ms`)
    await nodeAt(t, port)
    await next.waitForLine('registered service')
    t.match(await list(cli), [{ role: 'hello', servicePublicKey: key, live: true }])
    t.match(await next.kill('SIGTERM'), { code: 0 })
  }
)

/** A registry that has a bootstrap node of its own, which the test ends and starts again. */
async function lan(t: Test) {
  const cli = new Cli(t)
  const node = await nodeAt(t, 0)
  const { start } = await preparedFor(t, cli, node.address)
  const registry = cli.start(['registry', '--dir', 'registry-data'])
  await registry.waitForLine('registryPublicKey=')
  return { cli, start, registry, node, port: Number(node.address.split(':')[1]) }
}

async function nodeAt(t: Test, port: number): Promise<BootstrapNode> {
  const node = new BootstrapNode({ port })
  t.teardown(() => node.destroy())
  await node.setup()
  return node
}

async function portOf(proxy: Running): Promise<number> {
  return Number.parseInt(await proxy.waitForLine('proxy from  '), 10)
}
