import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Cli } from './cli.js'
import { islandOf } from './island.js'

/** Each call is a process of its own. */

const EXAMPLES = resolve(import.meta.dirname, '../../../examples')

async function harbor(t: Test) {
  const { cli, registryPublicKey } = await islandOf(t)
  return { cli, registryPublicKey }
}

/** Plays the seed's example by the command line alone: the first call is made by the binary itself. */
async function play(t: Test, cli: Cli) {
  const run = (args: string[]) => cli.ask(args)
  const fetched = await cli.run(['call', 'agent@1.x', 'fetch'])
  t.match(fetched, { code: 0, stderr: '' })
  t.match(JSON.parse(fetched.stdout), { type: 'FETCHED_TIME', payload: Number })

  const listen = cli.start(['listen', 'agent@1.x', 'FETCHED_TIME', '--json'])
  await listen.waitForTalk('listening to agent@1.x')
  t.match(await run(['call', 'agent@1.x', 'start']), { code: 0, stdout: '' })
  await listen.waitForLine('{')
  const stopped = run(['call', 'agent@1.x', 'stop'])
  t.match(await stopped, { code: 0, stdout: '' })
  // What was sent before the stop may still be under way; an agent that goes on sends one each second.
  await setTimeout(500)
  const heard = listen.lines.stdout.length
  await setTimeout(1500)
  t.equal(listen.lines.stdout.length, heard, 'none comes after it was stopped')
  const events = listen.lines.stdout.map((line) => JSON.parse(line))
  t.same(
    events.map(({ seq, missed }) => [seq, missed]),
    events.map((_, i) => [i + 1, 0])
  )
  t.match(events[0], { type: 'FETCHED_TIME', data: Number, version: '1.0.0' })
  t.match(await listen.kill('SIGINT'), { code: 0 })

  const unknown = await run(['call', 'agent@1.x', 'fetsh'])
  t.match(unknown, { code: 1, stdout: '', stderr: /^UNKNOWN_COMMAND: /m })
  const all = await run(['call', 'agent@1.x', 'fetch', '--all'])
  t.match(JSON.parse(all.stdout), { instance: /^[0-9a-f]{64}$/, value: { type: 'FETCHED_TIME' } })
}

t.test(
  'the example of the seed does what it says: it fetches, starts, hears and stops',
  async (t) => {
    const { cli, registryPublicKey } = await harbor(t)
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

t.test('the same by call and listen, and what the agent is, by inspect', async (t) => {
  const { cli, registryPublicKey } = await harbor(t)
  const program = resolve(EXAMPLES, 'time-agent/server.js')
  const server = cli.start([registryPublicKey], { program })
  const key = await server.waitForLine('agent@1.0.0 is registered as ')
  await play(t, cli)

  const inspected = JSON.parse((await cli.run(['inspect', 'agent@1.x', '--json'])).stdout)
  t.match(inspected, [
    {
      role: 'agent',
      version: '1.0.0',
      servicePublicKey: key,
      status: 'passing',
      path: { path: /^(dht|direct)$/ },
      commands: [{ name: 'start' }, { name: 'stop' }, { name: 'fetch' }],
      events: ['FETCHED_TIME'],
      stats: { commands: { fetch: { calls: 2, failed: 0 } }, events: { subscribers: 0 } }
    }
  ])
  const shown = await cli.ask(['inspect'])
  t.match(shown.stdout, /^agent +1\.0\.0 +passing +[0-9a-f]{64} .*start stop fetch +FETCHED_TIME/m)
})

t.test('the same with an agent in Python, by its stdin and stdout', async (t) => {
  const { cli } = await harbor(t)
  const agent = resolve(EXAMPLES, 'agent.py')
  const service = cli.start(['service', '-r', 'agent@1.0.0', '--stdio', '--', 'python3', agent])
  await service.waitForLine('registered service')
  await play(t, cli)
  t.match(await service.kill('SIGTERM'), { code: 0 })
})

t.test('what is sent is JSON, a file or stdin', async (t) => {
  const { cli } = await harbor(t)
  const echo = cli.write(
    'echo.mjs',
    `import { createInterface } from 'node:readline'
     for await (const line of createInterface({ input: process.stdin })) {
       const { id, method, params } = JSON.parse(line)
       if (method === 'fail') console.log('no JSON')
       if (id) console.log(JSON.stringify({ jsonrpc: '2.0', id, ...(method === 'fail'
         ? { error: { code: 7, message: 'it failed' } } : { result: params ?? null }) }))
     }`
  )
  const service = cli.start([
    'service',
    '-r',
    'echo@1.0.0',
    '--stdio',
    '--',
    process.execPath,
    echo
  ])
  await service.waitForLine('registered service')
  const call = async (...args: string[]) => (await cli.ask(['call', 'echo', ...args])).stdout
  t.equal(await call('it', '{"a":[1]}'), '{"a":[1]}\n')
  t.equal(await call('it', `@${cli.write('data.json', '"from a file"')}`), '"from a file"\n')
  const piped = await cli.run(['call', 'echo', 'it', '-'], { stdin: '[3]' })
  t.equal(piped.stdout, '[3]\n')
  t.match(await cli.ask(['call', 'echo', 'it', 'no JSON']), { code: 2, stderr: /^USAGE/ })
  t.match(await cli.ask(['call', 'echo']), { code: 2, stderr: /^USAGE: --command is missing/ })
  t.match(await cli.ask(['call', 'echo', 'fail']), {
    code: 1,
    stderr: /^COMMAND_FAILED: 7: it failed/m
  })
  await service.waitForTalk('COMMAND_FAILED')
  const none = await cli.ask(['call', 'nobody', 'it', '--timeout', '500ms'])
  t.match(none, { code: 1, stderr: /^NO_INSTANCE/m })
})
