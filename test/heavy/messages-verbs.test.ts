import { resolve } from 'node:path'
import t from 'tap'
import { islandOf } from '../bin/island.js'
import { EXAMPLES, play } from '../bin/time-agent.js'

/** Each call is a process of its own. */

t.test('an agent is used by call and listen, and inspect shows what it is', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)
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

t.test('what is sent is JSON, a file or stdin', async (t) => {
  const { cli } = await islandOf(t)
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
