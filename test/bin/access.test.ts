import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync
} from 'node:fs'
import { dirname } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeToken } from '../../lib/access-file.js'
import { AccessList } from '../../lib/gateway/access.js'
import { Cli } from './cli.js'

const PROGRAM = fileURLToPath(new URL('../../bin/hyperseaport.js', import.meta.url))
/** No byte may be written to a file. */
const FULL_DISK = ['sh', '-c', 'ulimit -f 0; exec "$@"', '-']
/** Runs a program at a terminal of its own. */
const SCRIPT = '/usr/bin/script'
const mayMount = spawnSync('unshare', ['-m', 'true']).status === 0
const [SOMEBODY, GROUP] = [54321, 54322]
const BE_SOMEBODY = ['setpriv', `--reuid=${SOMEBODY}`, `--regid=${SOMEBODY}`]
const mayBeSomebody = isNodeThere([...BE_SOMEBODY, '--clear-groups'])
const skip = existsSync(SCRIPT) ? false : 'there is no script(1) to make a terminal'

t.test('a token is replaced only when that is said', async (t) => {
  const cli = new Cli(t)
  const file = cli.path('access.txt')
  const access = (...args: string[]) => cli.ask(['access', '--auth', file, '--reach', '*', ...args])
  const first = (await access('--token', 'ci')).stdout.trim()
  const again = await access('--token', 'ci')
  t.equal(again.code, 2)
  t.match(again.stderr, '--replace')
  const list = () => new AccessList({ text: readFileSync(file, 'utf8') })
  t.ok(await list().identify(`Bearer ${first}`), 'and is as it was')
  const second = (await access('--token', 'ci', '--replace')).stdout.trim()
  t.ok(await list().identify(`Bearer ${second}`))
  t.equal(await list().identify(`Bearer ${first}`), null)
})

t.test(
  'where the disk is full the old file stays, and nothing else',
  { skip: process.platform === 'win32' && 'there is no ulimit' },
  async (t) => {
    const cli = new Cli(t)
    const file = cli.path('access/list.txt')
    cli.write('access/list.txt', '')
    const line = ['access', '--auth', file, '--reach', '*', '--token']
    t.match(await cli.ask([...line, 'first']), { code: 0 })
    const before = readFileSync(file, 'utf8')
    t.match(await cli.run([...line, 'second'], { at: FULL_DISK }), {
      code: 1,
      stdout: '',
      stderr: /^STORAGE_FAILED: .*list\.txt cannot be written \(EFBIG\)\n$/
    })
    t.equal(readFileSync(file, 'utf8'), before)
    t.strictSame(readdirSync(cli.path('access')), ['list.txt'])
  }
)

t.test(
  'what is no password, as it has no end, is refused',
  { skip: process.platform === 'win32' && 'there is no /dev/zero' },
  async (t) => {
    const cli = new Cli(t)
    const args = ['access', '--auth', cli.path('access.txt'), '--person', 'ada', '--reach', '*']
    const at = ['sh', '-c', 'exec "$@" < /dev/zero', '-']
    t.match(await cli.run(args, { at }), { code: 2, stderr: /^USAGE: .*stdin.*4096 bytes/ })
    t.notOk(existsSync(cli.path('access.txt')))
    t.match(await cli.run(args, { stdin: 'a password\n' }), { code: 0, stderr: '' })
  }
)

t.test('a file that is a link, and another user’s, stays so', async (t) => {
  const cli = new Cli(t)
  cli.write('list.txt', '')
  symlinkSync('list.txt', cli.path('link.txt'))
  if (process.getuid?.() === 0) chownSync(cli.path('list.txt'), 54321, 54321)
  const { uid } = statSync(cli.path('list.txt'))
  const line = ['access', '--auth', cli.path('link.txt'), '--reach', '*', '--token', 'ci']
  t.match(await cli.ask(line), { code: 0 })
  t.ok(lstatSync(cli.path('link.txt')).isSymbolicLink())
  t.match(readFileSync(cli.path('list.txt'), 'utf8'), /ci/)
  t.match(statSync(cli.path('list.txt')), { uid, mode: 0o100600 })
})

t.test('a group that may read a list may do so afterwards', async (t) => {
  const cli = new Cli(t)
  const file = cli.write('list.txt', '')
  chmodSync(file, 0o640)
  if (process.getuid?.() === 0) chownSync(file, 0, 12345)
  const { gid } = statSync(file)
  t.match(await cli.ask(['access', '--auth', file, '--reach', '*', '--token', 'ci']), { code: 0 })
  t.match(statSync(file), { gid, mode: 0o100640 })
})

t.test(
  'a list of another group stays that group’s where its owner is no root, and of nobody else’s',
  { skip: mayBeSomebody ? false : 'nobody else can be run here' },
  async (t) => {
    const cli = new Cli(t)
    const at = [...BE_SOMEBODY, `--groups=${GROUP}`]
    for (const [owner, mode] of [
      [SOMEBODY, 0o640],
      [0, 0o660]
    ] as const) {
      const file = cli.write(`lists-${owner}/list.txt`, '')
      chmodSync(cli.home, 0o711)
      chownSync(dirname(file), SOMEBODY, SOMEBODY)
      chownSync(file, owner, GROUP)
      chmodSync(file, mode)
      const args = ['access', '--auth', file, '--reach', '*', '--token', 'ci']
      t.match(await cli.run(args, { at }), { code: 0, stderr: '' })
      t.match(readFileSync(file, 'utf8'), /ci/)
      t.match(statSync(file), { uid: owner, gid: GROUP, mode: 0o100000 | mode })
    }
  }
)

t.test('those who change a list at the same time wait for each other', async (t) => {
  const cli = new Cli(t)
  const file = cli.path('new/list.txt')
  const names = ['one', 'two', 'three', 'four']
  const line = (name: string) => ['access', '--auth', file, '--reach', '*', '--token', name]
  const done = await Promise.all(names.map((name) => cli.run(line(name))))
  t.ok(done.every(({ code }) => code === 0))
  const kept = readFileSync(file, 'utf8').trim().split('\n')
  t.same(new Set(kept.map((line) => line.split(':')[1])), new Set(names))
  t.match(await cli.ask(['access', '--auth', cli.path('none'), '--remove', 'x']), { code: 1 })
  t.notOk(existsSync(cli.path('none')), 'nothing is left where nothing was changed')
})

t.test(
  'where the disk is full a list that is written where it is stays as it was',
  { skip: mayMount ? false : 'nothing may be mounted here' },
  async (t) => {
    const cli = new Cli(t)
    // One more does not fit into the block that it has.
    const lineOf = (i: number) => `${makeToken(`token${i + 100}`, ['*']).line}\n`
    const count = Math.floor(4096 / lineOf(0).length)
    const before = Array.from({ length: count }, (_, i) => lineOf(i)).join('')
    const file = cli.write('list.txt', before)
    const script = `
      mkdir disk && mount -t tmpfs -o size=64k none disk && cp list.txt disk/list.txt
      mount --bind disk/list.txt list.txt
      dd if=/dev/zero of=disk/fill 2>/dev/null
      "$@"; code=$?; cmp disk/list.txt ${cli.write('as-before.txt', before)} && exit $code`
    const at = ['unshare', '-m', 'sh', '-c', script, '-']
    const line = ['access', '--auth', file, '--reach', '*', '--token', 'again']
    t.match(await cli.run(line, { at, cwd: cli.home }), {
      code: 1,
      stderr: /^STORAGE_FAILED: .*list\.txt cannot be written \(ENOSPC\)\n$/
    })
  }
)

t.test(
  'a file that is mounted by itself, as into a container, is written where it is',
  { skip: mayMount ? false : 'nothing may be mounted here' },
  async (t) => {
    const cli = new Cli(t)
    const [file, outside] = [cli.write('list.txt', ''), cli.write('outside.txt', '')]
    const at = ['unshare', '-m', 'sh', '-c', `mount --bind '${outside}' '${file}'; exec "$@"`, '-']
    t.match(await cli.run(['access', '--auth', file, '--reach', '*', '--token', 'ci'], { at }), {
      code: 0
    })
    t.match(readFileSync(outside, 'utf8'), /ci/)
  }
)

t.test('a terminal is asked for a password, and shows nothing of it', { skip }, async (t) => {
  const cli = new Cli(t)
  const file = cli.path('access.txt')
  const command = `'${process.execPath}' '${PROGRAM}' access --auth '${file}' --person ada --reach '*'`
  const terminal = spawn(SCRIPT, ['-qec', command, '/dev/null'], { stdio: 'pipe' })
  let hasAnswered = false
  terminal.stdout.on('data', (bytes) => {
    if (hasAnswered || !String(bytes).includes('password for ada: ')) return
    hasAnswered = true
    terminal.stdin.write('love lace\r')
  })
  const shown = await text(terminal.stdout)
  terminal.stdin.end()
  t.notMatch(shown, 'lace')
  const list = new AccessList({ text: readFileSync(file, 'utf8') })
  const basic = Buffer.from('ada:love lace').toString('base64')
  t.match(await list.identify(`Basic ${basic}`), { name: 'ada' })
})

/** Whether who is changed in such a way reaches Node and the program, which may be in folders of their owner alone. */
function isNodeThere(at: string[]): boolean {
  const [command = '', ...args] = at
  // What is run first may have rights left that it does not hand on.
  const { status } = spawnSync(command, [...args, 'env', process.execPath, PROGRAM, '--version'])
  return status === 0
}
