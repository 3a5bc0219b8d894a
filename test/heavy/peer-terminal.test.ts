import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Cli, PROGRAM } from '../bin/cli.js'
import { peersOf } from '../bin/peers.js'
import { Watchdog } from '../watchdog.js'

/** Types lines at a pseudo terminal, each once what it answers was seen. */
async function atTerminal(t: Test, cli: Cli, bootstrap: string, args: string[], steps: string[][]) {
  const line = [process.execPath, PROGRAM, ...args].map((word) => `'${word}'`).join(' ')
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    cwd: cli.home,
    env: { ...env, HOME: cli.home, HYPERSEAPORT_BOOTSTRAP: bootstrap, XDG_DATA_HOME: '' },
    stdio: ['pipe', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  let seen = 0
  const watchdog = new Watchdog(30_000)
  t.teardown(() => watchdog.stop())
  child.stdout.on('data', (bytes) => {
    output += bytes
    child.emit('output')
  })
  const ended = once(child, 'close')
  for (const [expected = '', typed = ''] of steps) {
    while (!output.slice(seen).includes(expected)) {
      await once(child, 'output', { signal: watchdog.signal }).catch(() => {
        throw new Error(`${JSON.stringify(expected)} was not printed: ${JSON.stringify(output)}`)
      })
    }
    seen = output.indexOf(expected, seen) + expected.length
    child.stdin.write(`${typed}\n`)
  }
  const [code] = await ended
  return { output, code }
}

t.test('at a terminal a peer asks for what its config file lacks, and has a prompt', async (t) => {
  const { cli, bootstrap, registryPublicKey, peer } = await peersOf(t)
  const { running, key } = await peer('bea')
  const config = cli.write('elsewhere.conf', 'direct=lan')
  const args = ['peer', '--config', config, '--dir', cli.path('ada')]
  const first = await atTerminal(t, cli, bootstrap, args, [
    ['registryPublicKey: ', 'nonsense'],
    ['registryPublicKey: ', registryPublicKey],
    ['(may be empty): ', 'ada'],
    ['registered as peer ', `connect ${key}`],
    [`connected to ${key}`, 'discover'],
    [`${key} bea`, `send ${key} hello from a terminal`],
    ['delivered ', 'detach'],
    ['exit ends it', 'exit']
  ])
  t.equal(first.code, 0)
  t.match(first.output, /@> /)
  t.equal(
    readFileSync(config, 'utf8'),
    `direct=lan\nregistryPublicKey=${registryPublicKey}\nname=ada\n`
  )
  t.match(await running.waitForLine('20'), / hello from a terminal$/)
  const second = await atTerminal(t, cli, bootstrap, args, [['@> ', 'exit']])
  t.equal(second.code, 0)
  t.notMatch(second.output, 'registryPublicKey: ', 'it asks once')
})
