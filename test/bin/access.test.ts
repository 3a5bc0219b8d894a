import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { AccessList } from '../../lib/gateway/access.js'
import { Cli } from './cli.js'

const PROGRAM = fileURLToPath(new URL('../../bin/hyperseaport.js', import.meta.url))
/** Runs a program at a terminal of its own. */
const SCRIPT = '/usr/bin/script'
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
