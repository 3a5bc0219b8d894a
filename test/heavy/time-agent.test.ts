import { resolve } from 'node:path'
import t from 'tap'
import { islandOf } from '../bin/island.js'
import { EXAMPLES, play } from '../bin/time-agent.js'

/** The same by the command line is among the quick tests. */

t.test(
  'the example of the seed does what it says: it fetches, starts, hears and stops',
  async (t) => {
    const { cli, registryPublicKey } = await islandOf(t)
    const program = (name: string) => ({ program: resolve(EXAMPLES, 'time-agent', name) })
    const server = cli.start([registryPublicKey], program('server.js'))
    await server.waitForLine('agent@1.0.0 is registered as ')
    const client = await cli.run([registryPublicKey], program('client.js'))
    t.match(client, { code: 0, stderr: '' })
    const lines = client.stdout.trim().split('\n')
    t.match(lines[0], /^fetchCommand \{ type: 'FETCHED_TIME', payload: \d+ \}$/)
    t.match(lines[1], 'sendCommand undefined')
    const heard = lines.filter((line) => /^FETCHED_TIME \d+$/.test(line)).length
    t.ok(heard > 0, 'it hears some of the events, one a second, in its five seconds')
    t.equal(lines.at(-1), 'stopCommand undefined')
    t.match(await server.kill('SIGTERM'), { code: 0 })
  }
)

t.test('the same with an agent in Python, by its stdin and stdout', async (t) => {
  const { cli } = await islandOf(t)
  const agent = resolve(EXAMPLES, 'agent.py')
  const service = cli.start(['service', '-r', 'agent@1.0.0', '--stdio', '--', 'python3', agent])
  await service.waitForLine('registered service')
  await play(t, cli)
  t.match(await service.kill('SIGTERM'), { code: 0 })
})
