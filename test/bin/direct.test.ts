import t from 'tap'
import { islandOf } from './island.js'

t.test('a direct path that is none of the three is refused', async (t) => {
  const { cli } = await islandOf(t)
  const service = ['service', '-p', '9', '-r', 'hello@1.0.0']
  const wan = await cli.ask([...service, '--direct', 'wan'])
  t.match(wan, { code: 2, stderr: /--direct must be one of off, lan, any/ })
})
