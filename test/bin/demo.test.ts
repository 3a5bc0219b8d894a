import t from 'tap'
import { Cli } from './cli.js'

t.test('demo --once tries everything and finds every answer right', async (t) => {
  const cli = new Cli(t)
  const { code, stdout, stderr } = await cli.run(['demo', '--once'])
  t.equal(stderr, '')
  t.equal(code, 0)
  t.match(stdout, /hello from 1\.0\.0.*hello from 2\.0\.0.*All answers were right\.\n$/s)
})
