import { join } from 'node:path'
import t from 'tap'
import { dataOf } from '../../bin/talking.js'
import { Cli } from './cli.js'

t.test('data of a file is read as Windows writes it, and found below ~', async (t) => {
  const home = t.testdir({
    'mark.json': '\uFEFF{"a":1}',
    'broken.json': Buffer.from('"\xff\xc0"', 'latin1'),
    'wide.json': Buffer.from('\uFEFF{"a":"ü"}', 'utf16le')
  })
  const { HOME } = process.env
  t.teardown(() => Object.assign(process.env, { HOME }))
  process.env.HOME = home
  t.same(await dataOf(`@${join(home, 'mark.json')}`, false), { a: 1 })
  t.same(await dataOf('@~/wide.json', false), { a: 'ü' })
  t.same(await dataOf('@~/mark.json', true), Buffer.from('\uFEFF{"a":1}'), 'bytes are as they are')
  await t.rejects(dataOf('@~/none.json', false), {
    code: 'USAGE',
    message: join(home, 'none.json')
  })
})

t.test(
  'what is to be sent and has no end is refused',
  { skip: process.platform === 'win32' && 'there is no /dev/zero' },
  async (t) => {
    const cli = new Cli(t)
    cli.seed()
    const at = ['sh', '-c', 'exec "$@" < /dev/zero', '-']
    for (const args of [
      ['send', '0'.repeat(64), '-'],
      ['call', 'api@1.x', 'method', '-']
    ]) {
      t.match(await cli.run(args, { at }), { code: 1, stderr: /^TOO_LARGE: .*stdin.*64 MiB/ })
    }
  }
)
