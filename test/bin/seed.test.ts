import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { Cli } from './cli.js'

/** The pair in the first README. */
const SEED = 'c84c7034a0309479299d81468b7bc59592a96b3a919fd1ff159aea1879407382'
const PUBLIC_KEY = '5b64a8956d8f2404c4f4b4e6f402ef439f610f7fe297718093641359130b0d45'
const PAIR = `registrySeed=${SEED}\nregistryPublicKey=${PUBLIC_KEY}\n`

t.test('seed prints another pair each time', async (t) => {
  const cli = new Cli(t)
  const first = await cli.run(['seed'])
  const second = await cli.ask(['seed'])
  t.match(first, { code: 0, stderr: '' })
  t.match(first.stdout, /^registrySeed=[0-9a-f]{64}\nregistryPublicKey=[0-9a-f]{64}\n$/)
  t.not(first.stdout, second.stdout)
})

t.test('seed shows the pair of a seed that it is given', async (t) => {
  const cli = new Cli(t)
  const { code, stdout } = await cli.ask(['seed', '--registrySeed', SEED])
  t.equal(code, 0)
  t.equal(stdout, PAIR)
})

t.test('a seed is read from a file, bare, as INI, as JSON, and in z-base-32', async (t) => {
  const cli = new Cli(t)
  cli.write('bare', `${SEED}\n`)
  cli.write('ini', PAIR)
  cli.write('json', JSON.stringify({ registrySeed: SEED }))
  cli.write('z32', '3bg8ypfygnk81kc7ofdes66f1sjk14341gx7d9aiumibo6kyqqby\n')
  for (const name of ['bare', 'ini', 'json', 'z32', '~/ini']) {
    const { stdout } = await cli.ask(['seed', '--registrySeed', `@${name}`])
    t.equal(stdout, PAIR, name)
  }
})

t.test('seed makes a new pair although another is configured', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport', PAIR)
  cli.setEnv('HYPERSEAPORT_REGISTRY_SEED', SEED)
  const { code, stdout } = await cli.ask(['seed'])
  t.equal(code, 0)
  t.notMatch(stdout, SEED)
})

t.test('seed prints JSON', async (t) => {
  const cli = new Cli(t)
  const { stdout } = await cli.ask(['seed', '--json', '--registrySeed', SEED])
  t.same(JSON.parse(stdout), { registrySeed: SEED, registryPublicKey: PUBLIC_KEY })
})

t.test('seed writes a file that only its owner reads, and talks on stderr', async (t) => {
  const cli = new Cli(t)
  const { code, stdout, stderr } = await cli.ask(['seed', '--registrySeed', SEED, '--out', 'mine'])
  t.equal(code, 0)
  t.equal(stdout, '')
  t.match(stderr, `registryPublicKey=${PUBLIC_KEY}`)
  t.notMatch(stderr, SEED)
  t.equal(readFileSync(cli.path('mine'), 'utf8'), PAIR)
  t.equal(statSync(cli.path('mine')).mode & 0o777, 0o600)
})

t.test('seed replaces a file only when it is forced', async (t) => {
  const cli = new Cli(t)
  cli.write('mine', 'precious')
  const refused = await cli.ask(['seed', '--out', 'mine'])
  t.equal(refused.code, 2)
  t.match(refused.stderr, /^USAGE: mine exists .*--force.*\n$/)
  t.equal(readFileSync(cli.path('mine'), 'utf8'), 'precious')

  const forced = await cli.ask(['seed', '--out', 'mine', '--force'])
  t.equal(forced.code, 0)
  t.match(readFileSync(cli.path('mine'), 'utf8'), /^registrySeed=/)
  t.equal(statSync(cli.path('mine')).mode & 0o777, 0o600)
})

t.test('seed makes the file that a link names and that is not there, if forced', async (t) => {
  const cli = new Cli(t)
  cli.write('disk/other', '')
  symlinkSync('disk/mine', cli.path('link'))
  symlinkSync('away/mine', cli.path('astray'))
  symlinkSync('loop', cli.path('loop'))
  for (const name of ['link', 'astray', 'loop']) {
    const refused = await cli.ask(['seed', '--out', name])
    t.match(refused, { code: 2, stderr: `USAGE: ${name} exists` })
  }
  const forced = ['seed', '--force', '--registrySeed', SEED, '--out']
  t.match(await cli.ask([...forced, 'link']), { code: 0, stdout: '' })
  t.ok(lstatSync(cli.path('link')).isSymbolicLink())
  t.equal(readFileSync(cli.path('disk/mine'), 'utf8'), PAIR)
  t.equal(statSync(cli.path('disk/mine')).mode & 0o777, 0o600)
  const astray = await cli.ask([...forced, 'astray'])
  t.match(astray, { code: 1, stderr: 'STORAGE_FAILED: astray cannot be written (ENOENT)' })
  t.notOk(existsSync(cli.path('away')), 'a disk that is away is not made')
  const loop = await cli.ask([...forced, 'loop'])
  t.match(loop, { code: 1, stderr: 'STORAGE_FAILED: loop cannot be written (ELOOP)' })
})

t.test(
  'seed waits aloud for the reader of a pipe, and can be stopped',
  { skip: process.platform === 'win32' && 'there are no pipes with a name' },
  async (t) => {
    const cli = new Cli(t)
    execFileSync('mkfifo', [cli.path('pipe')])
    const line = ['seed', '--force', '--registrySeed', SEED, '--out', 'pipe']
    const stopped = cli.start(line)
    await stopped.waitForTalk('pipe is a pipe, and nobody reads it yet')
    t.match(await stopped.kill(), { code: 143, stdout: '' })
    const read = cli.start(line)
    await read.waitForTalk('pipe is a pipe, and nobody reads it yet')
    t.equal(await readFile(cli.path('pipe'), 'utf8'), PAIR)
    t.match(await read.outcome, { code: 0, stdout: '' })
    t.match(await cli.ask(['seed', '--out', 'pipe']), { code: 2, stderr: /^USAGE: pipe exists/ })
  }
)

t.test('seed makes the folder that its file is to be in', async (t) => {
  const cli = new Cli(t)
  const { code } = await cli.ask(['seed', '--out', '.config/hyperseaport'])
  t.equal(code, 0)
  t.match(readFileSync(cli.path('.config/hyperseaport'), 'utf8'), /^registrySeed=/)
  t.equal(statSync(cli.path('.config')).mode & 0o777, 0o700)
})

t.test(
  'where the disk is full seed leaves no file, or the old one',
  { skip: process.platform === 'win32' && 'there is no ulimit' },
  async (t) => {
    const cli = new Cli(t)
    const at = ['sh', '-c', 'ulimit -f 0; exec "$@"', '-']
    const failure = { code: 1, stderr: /^STORAGE_FAILED: .*mine cannot be written \(EFBIG\)\n$/ }
    t.match(await cli.run(['seed', '--out', 'folder/mine'], { at }), failure)
    t.strictSame(readdirSync(cli.path('folder')), [])
    cli.write('folder/mine', 'precious')
    t.match(await cli.run(['seed', '--out', 'folder/mine', '--force'], { at }), failure)
    t.equal(readFileSync(cli.path('folder/mine'), 'utf8'), 'precious')
    t.strictSame(readdirSync(cli.path('folder')), ['mine'])
  }
)

t.test('seed says why it cannot write', async (t) => {
  const cli = new Cli(t)
  cli.write('file', '')
  const { code, stderr } = await cli.ask(['seed', '--out', 'file/mine'])
  t.equal(code, 1)
  t.match(stderr, /^STORAGE_FAILED: file\/mine cannot be written \(ENOTDIR\)\n$/)
})
