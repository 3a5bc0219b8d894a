import t from 'tap'
import { answered, get, islandOf } from '../bin/island.js'

t.test('a proxy takes the direct path, list tells so, and a restart moves it', async (t) => {
  const { cli, start } = await islandOf(t)
  const seed = ['--seed', '11'.repeat(32)]
  const service = await start.service('hello@1.0.0', ...seed)
  await start.instance('shy@1.0.0', { direct: 'off' })
  const { port } = await start.proxy('hello@1.x')
  t.equal(await get(port), 'hello')

  const { stdout } = await cli.ask(['list', '--verbose'])
  t.match(stdout, /^hello .* direct [\d.]+ ms +127\.0\.0\.1:\d+$/m)
  t.match(stdout, /^shy .* dht [\d.]+ ms$/m)
  const json = await cli.ask(['list', 'hello', '--verbose', '--json'])
  t.match(JSON.parse(json.stdout), [{ path: { path: 'direct' }, direct: [/^127\.0\.0\.1:\d+$/] }])

  await service.kill('SIGKILL')
  await start.service('hello@1.0.0', ...seed)
  t.equal(await answered(port), 'hello')
})
