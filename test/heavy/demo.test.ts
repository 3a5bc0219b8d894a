import { readdirSync } from 'node:fs'
import { chromium } from 'playwright-core'
import t from 'tap'
import { Cli } from '../bin/cli.js'
import { executablePath, FLAGS, noChromium } from './chromium.js'

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

t.test('demo --once tries everything and finds every answer right', async (t) => {
  const cli = new Cli(t)
  const { code, stdout, stderr } = await cli.run(['demo', '--once'])
  t.equal(stderr, '')
  t.equal(code, 0)
  t.match(stdout, /hello from 1\.0\.0.*hello from 2\.0\.0.*All answers were right\.\n$/s)
})

const noApps = process.platform !== 'linux' && 'processes of apps are run on Linux only'

t.test(
  'demo --apps updates an app on two hosts, one of them dies and comes back, and the dashboard shows all of it',
  { skip: noApps || noChromium },
  async (t) => {
    const cli = new Cli(t)
    cli.write('tmp/.keep', '')
    const demo = cli.start(['demo', '--apps', '--once'], { env: { TMPDIR: cli.path('tmp') } })
    const url = (await demo.waitForLine('a dashboard')).trim()
    const browser = await chromium.launch({ executablePath, args: FLAGS })
    t.teardown(() => browser.close())
    const page = await browser.newPage()
    page.setDefaultTimeout(60_000)
    page.on('pageerror', (error) => t.fail(error.message))
    await page.goto(url)
    const row = (panel: string, name: string) =>
      page.locator(`section[aria-labelledby=${panel}] tbody tr`, { hasText: name })
    await row('apps', 'hello-world')
      .getByText(/^attic.* 2.0.0 passing/)
      .waitFor()
    await row('apps', 'hello-world')
      .getByText(/^cellar.* 2.0.0 passing/)
      .waitFor()
    await row('apps', 'hello-world').getByText('2 of 2').waitFor()
    await row('hosts', 'attic').getByText('ready').waitFor()

    await row('hosts', 'attic').waitFor({ state: 'detached' })
    await row('hosts', 'cellar').getByRole('cell', { name: '2', exact: true }).waitFor()
    await row('hosts', 'attic').getByText('ready').waitFor()
    const { code, stdout, stderr } = await demo.outcome
    t.equal(stderr, '')
    t.equal(code, 0)
    t.match(stdout, /Hello, World! from 1\.0\.0.* from 2\.0\.0.*All went as it should\.\n$/s)
    t.same(readdirSync(cli.path('tmp')), ['.keep'])
  }
)
