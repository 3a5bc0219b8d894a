import t from 'tap'
import { islandOf } from '../bin/island.js'

/** Each call is a process of its own. */

t.test('a program shares its state: others read, watch and write it', async (t) => {
  const { cli } = await islandOf(t)
  const { stdout } = await cli.ask(['key', '--json'])
  const { processPublicKey } = JSON.parse(stdout)
  const program = cli.write(
    'agent.mjs',
    `import { createInterface } from 'node:readline'
     const say = (method, params) => console.log(JSON.stringify({ jsonrpc: '2.0', method, params }))
     say('state.set', { name: 'mode', value: { is: 'busy' } })
     say('state.set', { name: 'no name', value: 1 })
     for await (const line of createInterface({ input: process.stdin })) {
       const { id, params } = JSON.parse(line)
       if (params === 'forget') say('state.delete', { name: 'mode' })
       if (id) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: null }))
     }`
  )
  const flags = ['--writer', processPublicKey, '--stdio', '--', process.execPath, program]
  const service = cli.start(['service', '-r', 'agent@1.0.0', ...flags])
  const key = await service.waitForLine('started p2p service on ')
  await service.waitForLine('registered service')
  await service.waitForTalk('COMMAND_FAILED')

  const state = (...args: string[]) => cli.ask(['state', ...args])
  t.match(await state('get', 'agent@1.x'), { code: 0, stdout: 'mode {"is":"busy"}\n' })
  t.match(JSON.parse((await state('get', 'agent@1.x', 'mode', '--json')).stdout), {
    owner: key,
    name: 'mode',
    term: 1,
    rev: 1,
    value: { is: 'busy' },
    stale: false
  })
  const watch = cli.start(['state', 'watch', 'agent@1.x', '--json'])
  await watch.waitForTalk('watching the state of agent@1.x')
  t.match(await state('set', 'agent@1.x', 'limit', '7', '--if', '0'), { code: 0, stdout: '2\n' })
  t.match(await state('set', 'agent@1.x', 'limit', '8', '--if', '0'), {
    code: 1,
    stderr: /^CONFLICT: /m
  })
  t.match(await state('get', 'agent@1.x', 'limit'), { code: 0, stdout: '7\n' })
  t.match(await state('delete', 'agent@1.x', 'limit', '--if', '2'), { code: 0, stdout: '3\n' })
  t.match(await state('get', 'agent@1.x', 'limit'), { code: 1, stderr: /^NOT_FOUND: /m })
  t.match(await cli.ask(['call', 'agent@1.x', 'do', '"forget"']), { code: 0 })
  while (!watch.lines.stdout.some((line) => line.includes('"mode"') && JSON.parse(line).deleted)) {
    await watch.waitForMatch(/"deleted":true/)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.match(
    watch.lines.stdout.map((line) => JSON.parse(line)),
    [
      { name: 'mode', rev: 1, value: { is: 'busy' }, deleted: false },
      { name: 'limit', rev: 2, value: 7 },
      { name: 'limit', rev: 3, deleted: true },
      { name: 'mode', rev: 4, deleted: true }
    ]
  )
  t.match(await watch.kill('SIGINT'), { code: 0 })

  t.match(await state('show', 'agent@1.x'), { code: 2, stderr: /^USAGE: / })
  t.match(await state('get', 'agent@1.x', 'a', '1'), { code: 2, stderr: /^USAGE: / })
  t.match(await state('set', 'agent@1.x', 'a'), { code: 2, stderr: /^USAGE: --value is missing/ })
  t.match(await state('set', 'agent@1.x', 'a', 'no JSON'), { code: 2, stderr: /^USAGE: / })
  const inspected = JSON.parse((await cli.ask(['inspect', 'agent@1.x', '--json'])).stdout)
  t.match(inspected, [{ state: { entries: 0, term: 1, rev: 4 } }])

  t.match(await service.kill('SIGTERM'), { code: 0 })
  const again = cli.start(['service', '-r', 'agent@1.1.0', ...flags.slice(2)])
  await again.waitForLine('registered service')
  const refused = await state('set', 'agent@1.x', 'a', '1')
  t.match(refused, { code: 1, stderr: /^NOT_ALLOWED: /m })
  const found = JSON.parse((await state('get', 'agent@1.x', 'mode', '--json')).stdout)
  t.match(found, { rev: 5, value: { is: 'busy' } }, 'an upgrade goes on with its state')

  const swap = ['service', '-r', 'agent@2.0.0', '--takeOver', ...flags.slice(2)]
  const next = cli.start(swap)
  await next.waitForLine('registered service')
  t.match(await again.outcome, { code: 0, stderr: /has taken over, this one leaves/ })
  const kept = JSON.parse((await state('get', 'agent', 'mode', '--json')).stdout)
  t.match(kept, { term: 2, value: { is: 'busy' } }, 'and so does who takes over')
})
