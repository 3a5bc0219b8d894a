import { readdirSync } from 'node:fs'
import t from 'tap'
import { Cli } from '../bin/cli.js'

t.test('demo prints commands that work, and leaves nothing behind', async (t) => {
  const cli = new Cli(t)
  const temporary = cli.path('tmp')
  cli.write('tmp/.keep', '')
  const demo = cli.start(['demo'], { env: { TMPDIR: temporary } })
  await demo.waitForLine('Ctrl-C ends it.')

  t.match(demo.lines.stdout[0], /^a dashboard +http:\/\/127\.0\.0\.1:\d+\/$/, 'its URL comes first')
  const url = await demo.waitForLine('  curl ')
  t.match(await (await fetch(url)).text(), /^hello from 1\.0\.0/)
  const list = await demo.waitForLine('  node ')
  const { stdout } = await cli.run([...list.split(' ').slice(1), '--json'])
  t.equal(JSON.parse(stdout).length, 3)

  t.match(await demo.kill('SIGINT'), { code: 0, stderr: '' })
  t.same(readdirSync(temporary), ['.keep'])
  t.same(readdirSync(cli.home), ['tmp'], 'nor does the list')
})
