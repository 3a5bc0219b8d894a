import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { Cli } from '../bin/cli.js'
import { get, harbor, localHarbor, statusFor } from '../bin/harbor.js'

t.test('registry --web and web serve the routes of the seed, each on its port', async (t) => {
  const { cli, registry, service, key } = await harbor(t, ['--web', '0'])
  const web = cli.start(['web', '-p', '0', '--dir', cli.path('web')])
  const ports = [
    await registry.waitForLine('web server listening on port '),
    await web.waitForLine('web server listening on port ')
  ]
  t.match(web.lines.stdout.join('\n'), /connecting to registry .*\nconnected to registry\n/)
  for (const port of ports) {
    const at = `http://127.0.0.1:${port}`
    t.strictSame(await get(`${at}/role/hello@1.2.3/`), { status: 200, text: 'hello from /' })
    t.strictSame(await get(`${at}/role/hello@1.x/some/path?x=1`), {
      status: 200,
      text: 'hello from /some/path?x=1'
    })
    t.strictSame(await get(`${at}/instance/${key}/a/b`), { status: 200, text: 'hello from /a/b' })
    const [listed] = JSON.parse((await get(`${at}/list/hello@1.x`)).text)
    t.match(listed, {
      role: 'hello',
      version: '1.2.3',
      servicePublicKey: key,
      tags: [],
      status: 'passing'
    })
    t.equal((await get(`${at}/role/nobody@1.x/`)).status, 404)
    t.equal((await get(`${at}/role/hello@9.x/`)).status, 404)
  }
  await service.destroy()
  t.equal((await get(`http://127.0.0.1:${ports[1]}/role/hello@1.x/`)).status, 503)
  t.equal((await web.kill()).code, 0)
})

t.test('SIGHUP reads domains again from the config file', async (t) => {
  const { cli } = await localHarbor(t)
  const config = cli.path('.hyperseaportrc')
  const keys = readFileSync(config, 'utf8')
  writeFileSync(config, `${keys}domain=one.example=hello@1.x\n`)
  const web = cli.start(['web', '-p', '0', '--dir', cli.path('web'), '--log', 'json'])
  const port = await web.waitForLine('web server listening on port ')
  const ask = (host: string) => statusFor(Number(port), host)
  t.equal(await ask('one.example'), 200)
  t.equal(await ask('two.example'), 404)
  writeFileSync(config, `${keys}domain=*.example=hello@1.x\n`)
  process.kill(web.pid, 'SIGHUP')
  await web.waitForTalk('read the configuration again')
  t.equal(await ask('two.example'), 200)
  t.equal(await ask('two.other'), 404)
  writeFileSync(config, `${keys}domain=nonsense\n`)
  process.kill(web.pid, 'SIGHUP')
  await web.waitForTalk('the configuration stays as it was')
  t.equal(await ask('two.example'), 200)
  const line = JSON.parse(web.lines.stdout.find((line) => line.startsWith('{')) ?? '')
  t.match(line, { method: 'GET', host: 'one.example', status: 200, role: 'hello', attempts: 1 })
})

t.test('tokens and people reach what the access file says, over metrics and logs', async (t) => {
  const { cli, registry } = await harbor(t, ['--metrics', '0'])
  const file = cli.path('access.txt')
  const made = await cli.ask(['access', '--auth', file, '--token', 'ci', '--reach', 'hello@1.x'])
  t.equal(made.code, 0)
  const token = made.stdout.trim()
  const other = (
    await cli.ask(['access', '--auth', file, '--token', 'other', '--reach', 'else'])
  ).stdout.trim()
  t.notMatch(readFileSync(file, 'utf8'), token)
  const web = cli.start(['web', '-p', '0', '--dir', cli.path('web'), '--auth', file])
  const at = `http://127.0.0.1:${await web.waitForLine('web server listening on port ')}`
  t.equal((await get(`${at}/role/hello@1.x/`)).status, 401)
  t.equal((await get(`${at}/role/hello@1.x/`, { authorization: `Bearer ${token}` })).status, 200)
  t.equal((await get(`${at}/role/hello@1.x/`, { authorization: `Bearer ${other}` })).status, 403)
  t.equal((await get(`${at}/list/`, { authorization: `Bearer ${other}` })).text, '[]\n')
  t.equal((await get(at)).status, 401)

  const metrics = await registry.waitForLine('metrics on ')
  const scraped = await get(metrics, { accept: 'application/openmetrics-text' })
  t.match(scraped.text, /^hyperseaport_registry_leases 1$/m)
  t.match(scraped.text, /^hyperseaport_build_info\{/m)
})

t.test('misuse is refused before anything is started', async (t) => {
  const cli = new Cli(t)
  cli.setEnv('HYPERSEAPORT_REGISTRY_PUBLIC_KEY', 'ab'.repeat(32))
  cli.setEnv('HYPERSEAPORT_BOOTSTRAP', '127.0.0.1:1')
  const cases: [flags: string[], words: RegExp][] = [
    [[], /--port is missing/],
    [['-p', '0', '--listen', '0.0.0.0'], /--auth/],
    [['-p', '0', '--domain', 'api'], /api\.example\.com=api@\^2/],
    [['-p', '0', '--tlsCert', 'x.pem'], /--tlsKey/],
    [['-p', '0', '--timeout', 'soon'], /seconds/],
    [['-p', '0', '--log', 'xml'], /json or text/],
    [['-p', '0', '--cors', 'api@1.x=nowhere'], /https:\/\/app\.example\.com/]
  ]
  for (const [flags, words] of cases) {
    const { code, stderr } = await cli.ask(['web', ...flags])
    t.equal(code, 2, flags.join(' '))
    t.match(stderr, words)
  }
})
