import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, lchownSync, symlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseConfig } from '../../bin/config.js'
import { expandHome } from '../../bin/settings.js'
import { homeFolder } from '../../lib/core/home-folder.js'
import { Cli } from './cli.js'

const KEY = '5b64a8956d8f2404c4f4b4e6f402ef439f610f7fe297718093641359130b0d45'
/** Where nobody answers. */
const LONELY = { HYPERSEAPORT_BOOTSTRAP: '127.0.0.1:1', HYPERSEAPORT_HOST: '127.0.0.1' }
const SOMEBODY_ELSE = 54321
const isRoot = process.getuid?.() === 0

/** Lines of INI, and what they say. */
const INI: [text: string, values: Record<string, string[]>][] = [
  ['dir=/srv/a#b', { dir: ['/srv/a#b'] }],
  ['dir=/srv/a;b', { dir: ['/srv/a;b'] }],
  ['port=9 # the old one', { port: ['9'] }],
  ['port=9\t; the old one', { port: ['9'] }],
  ['port=9 #', { port: ['9'] }],
  ['dir="/srv/a # b" ; quoted', { dir: ['/srv/a # b'] }],
  ["dir='/srv/a # b'", { dir: ['/srv/a # b'] }],
  ['dir="say \\"aye\\""', { dir: ['say "aye"'] }],
  ['dir=C:\\data\\new', { dir: ['C:\\data\\new'] }],
  ['tag=a\\#b\\;c', { tag: ['a#b;c'] }],
  ['tag=null', { tag: ['null'] }],
  [' a-b = c = d \r\n', { 'a-b': ['c = d'] }],
  ['port=', { port: [''] }],
  ['role=# nothing', { role: [''] }],
  ['role = ; x', { role: [''] }],
  ['role="" # nothing', { role: [''] }],
  ['role="# a"', { role: ['# a'] }],
  ['tag=\\#b', { tag: ['#b'] }],
  ['a=1\na=2', { a: ['2'] }],
  ['a[]=1\na[]=2\n', { a: ['1', '2'] }],
  ['a[]=1\na=2\n', { a: ['1', '2'] }],
  ['# a\n; b\n\n  \n', {}]
]

t.test('a value of INI ends at its line, and not at a # or ; in it', async (t) => {
  for (const [text, values] of INI) t.same(parseConfig(text, 'file'), values, text)
})

t.test('a path in a config file or behind a = may begin with ~/', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport', `registryPublicKey=${KEY}\ndir=~/of file#1\n`)
  t.match(await cli.ask(['key']), { code: 0 })
  t.ok(existsSync(cli.path('of file#1')))
  t.match(await cli.ask(['key', '--dir=~/of flag']), { code: 0 })
  t.ok(existsSync(cli.path('of flag')))
  t.match(await cli.ask(['key'], { env: { HYPERSEAPORT_DIR: '~/of variable' } }), { code: 0 })
  t.ok(existsSync(cli.path('of variable')))
})

t.test('a byte order mark, and UTF-16, are no part of a config file', async (t) => {
  const cli = new Cli(t)
  const json = JSON.stringify({ registryPublicKey: KEY })
  for (const text of [`\uFEFF${json}`, `\uFEFFregistryPublicKey=${KEY}\r\n`]) {
    for (const encoding of ['utf8', 'utf16le'] as const) {
      const path = cli.write('config', Buffer.from(text, encoding))
      t.match(await cli.ask(['key', '--config', path]), { code: 0, stderr: '' }, encoding)
      t.match(await cli.ask(['key', '--registryPublicKey', `@${path}`]), { code: 0, stderr: '' })
    }
  }
})

t.test('variables that Kubernetes sets are named, and passed over', async (t) => {
  const cli = new Cli(t)
  const PORT = 'tcp://10.96.0.1:80'
  const env = {
    HYPERSEAPORT_PORT: PORT,
    HYPERSEAPORT_PORT_80_TCP: PORT,
    HYPERSEAPORT_SERVICE_HOST: '10.96.0.1',
    HYPERSEAPORT_SERVICE_PORT: '80'
  }
  const passedOver = `HYPERSEAPORT_PORT=${PORT} is no setting of ours, and is passed over\n`
  const path = cli.write('config', 'port=high\n')
  t.match(await cli.ask(['bootstrap', '--config', path], { env }), {
    code: 2,
    stderr: `${passedOver}USAGE: --port (from ${path}) must be a port from 0 to 65535, not "high". Run 'hyperseaport bootstrap --help'.\n`
  })
  t.match(await cli.ask(['seed'], { env }), { code: 0, stderr: '' }, 'where it would be read')
})

t.test('the name that Docker gives a link is named, and passed over', async (t) => {
  const cli = new Cli(t)
  const env = { HYPERSEAPORT_NAME: '/web/hyperseaport' }
  const { stderr } = await cli.ask(['service', '-r', 'a@1.0.0'], { env })
  t.match(
    stderr,
    /^HYPERSEAPORT_NAME=\/web\/hyperseaport is no setting of ours, and is passed over\n/
  )
  const { stderr: other } = await cli.ask(['service', '-r', 'a@1.0.0'], {
    env: { HYPERSEAPORT_DIR: '/a/b', HYPERSEAPORT_NAME: 'one' }
  })
  t.notMatch(other, 'passed over')
})

t.test('what is found and is no file is passed over: it might have no end', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport', `registryPublicKey=${KEY}\ndir=~/mine\n`)
  cli.write('endless/pipe/file', '')
  execFileSync('mkfifo', [cli.path('endless/pipe/.hyperseaportrc')])
  symlinkSync('/dev/zero', cli.path('endless/.hyperseaportrc'))
  t.match(await cli.run(['key'], { cwd: cli.path('endless/pipe') }), { code: 0, stderr: '' })
  t.ok(existsSync(cli.path('mine')))
})

t.test('a file that is named and might have no end, or is far too large, is refused', async (t) => {
  const cli = new Cli(t)
  const large = cli.write('large.conf', Buffer.alloc(1024 * 1024 + 1, '#'))
  const named = (path: string) => cli.run(['key'], { env: { HYPERSEAPORT_CONFIG: path } })
  t.match(await named(large), { code: 2, stderr: /^BAD_CONFIG: .*large.conf.*1 MiB/ })
  t.match(await named('/dev/zero'), { code: 2, stderr: /^BAD_CONFIG: \/dev\/zero.*pipe/ })
  const key = await cli.run(['key', '--registryPublicKey', '@/dev/zero'])
  t.match(key, { code: 2, stderr: /^USAGE: .*\/dev\/zero.*pipe/ })
  for (const [args, said] of [
    [['import', '/dev/zero', '--registrySeed', KEY], 'USAGE'],
    [['call', 'a@1.x', 'b', '@/dev/zero', '--registryPublicKey', KEY], 'USAGE'],
    [['access', '--auth', '/dev/zero', '--token', 'ci', '--reach', '*'], 'BAD_CONFIG'],
    [['web', '--port', '0', '--auth', '/dev/zero', '--registryPublicKey', KEY], 'BAD_CONFIG']
  ] as const) {
    const stderr = new RegExp(`^${said}: .*neither a file nor a pipe`)
    const at = ['timeout', '-s', 'KILL', '20']
    t.match(await cli.run([...args], { at, env: LONELY }), { code: 2, stderr })
  }
  execFileSync('mkfifo', [cli.path('pipe')])
  const fed = named(cli.path('pipe'))
  await writeFile(cli.path('pipe'), `dir=~/piped\nregistryPublicKey=${KEY}\n`)
  t.match(await fed, { code: 0, stderr: '' })
  t.ok(existsSync(cli.path('piped')), 'a pipe has an end')
  t.match(await named('/dev/null'), { code: 2, stderr: /registryPublicKey is missing/ })
})

t.test('a verb that waits for the writer of a pipe says so, and can be stopped', async (t) => {
  const cli = new Cli(t)
  const pipe = cli.path('pipe')
  execFileSync('mkfifo', [pipe])
  for (const line of [
    ['key', '--config', 'pipe'],
    ['key', '--registryPublicKey', '@pipe'],
    ['call', 'a@1.x', 'b', '@~/pipe', '--registryPublicKey', KEY],
    ['import', 'pipe', '--registrySeed', KEY],
    ['access', '--auth', 'pipe', '--token', 'ci', '--reach', '*']
  ]) {
    const running = cli.start(line, { env: LONELY })
    await running.waitForMatch(/pipe is a pipe, and nothing comes from it yet$/)
    t.match(await running.kill(), { code: 143, stdout: '' }, line.join(' '))
  }
  const web = ['web', '--port', '0', '--auth', 'pipe', '--registryPublicKey', KEY]
  const lasting = cli.start(web, { env: LONELY })
  await lasting.waitForMatch(/pipe is a pipe, and nothing comes from it yet$/)
  t.match(await lasting.kill('SIGINT'), { code: 0, stdout: '' })
  const fed = cli.run(['key', '--registryPublicKey', '@pipe'])
  await writeFile(pipe, `registryPublicKey=${KEY}\n`)
  t.match(await fed, { code: 0, stdout: /^processPublicKey=/m })
})

t.test('a ~ alone is the home', (t) => {
  t.equal(expandHome('~'), homeFolder())
  t.equal(expandHome('~/a'), join(homeFolder(), 'a'))
  t.equal(expandHome('~a'), '~a')
  t.end()
})

t.test(
  'a file that another user left is named and not obeyed, unless it is asked for',
  { skip: isRoot ? false : 'only root may give files away' },
  async (t) => {
    const cli = new Cli(t)
    const theirs = cli.write('shared/.hyperseaportrc', `registryPublicKey=${KEY}\ndir=theirs\n`)
    cli.write('.config/hyperseaport', `registryPublicKey=${KEY}\ndir=~/mine\n`)
    cli.write('shared/project/file', '')
    chownSync(theirs, SOMEBODY_ELSE, SOMEBODY_ELSE)
    const stderr = `${theirs} is user ${SOMEBODY_ELSE}'s and is passed over; to use it, name it by --config\n`
    const cwd = cli.path('shared/project')
    t.match(await cli.run(['key'], { cwd }), { code: 0, stderr })
    t.ok(existsSync(cli.path('mine')))

    symlinkSync(cli.path('.config/hyperseaport'), cli.path('shared/project/.hyperseaportrc'))
    lchownSync(cli.path('shared/project/.hyperseaportrc'), SOMEBODY_ELSE, SOMEBODY_ELSE)
    const both = `${cli.path('shared/project/.hyperseaportrc')} is user ${SOMEBODY_ELSE}'s and is passed over; to use it, name it by --config\n${stderr}`
    t.match(await cli.run(['key'], { cwd }), { code: 0, stderr: both }, 'a link of theirs')

    t.match(await cli.run(['key', '--config', theirs], { cwd }), { code: 0, stderr: '' })
    t.ok(existsSync(cli.path('shared/project/theirs')))
  }
)
