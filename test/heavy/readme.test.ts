import { execFileSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { Cli } from '../bin/cli.js'
import { commandsOf, HOUSE } from '../docs/pages.js'
import { Walkthrough } from '../docs/walkthrough.js'
import { Hosts, noHosts } from './hosts.js'

/** What a clone has not. */
const NOT_CLONED = ['node_modules', 'dist', '.git', '.tap']
const INSTALL_PATIENCE_MS = 300_000
const [DHT, FIRST, SECOND] = ['10.77.0.11', '10.77.0.12', '10.77.0.13']

t.test(
  'who has the README alone gets from a clone to two machines, command by command',

  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-readme-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    const prefix = join(folder, 'prefix')
    const walkthrough = new Walkthrough(t, {
      folders: { '': folder, 'the clone': join(folder, 'hyperseaport') },
      // What the README has npm install is what runs from then on.
      bin: join(prefix, 'bin'),
      env: {
        npm_config_prefix: prefix,
        npm_config_prefer_offline: 'true',
        npm_config_cache: process.env.npm_config_cache ?? join(homedir(), '.npm'),
        npm_config_userconfig: process.env.npm_config_userconfig ?? join(homedir(), '.npmrc')
      },
      patience: INSTALL_PATIENCE_MS,
      ...(noHosts ? {} : { at: machines(t) })
    })
    if (noHosts) {
      t.comment(`both machines are this one: ${noHosts}`)
      await walkthrough.island()
      await walkthrough.replacePort(8080)
    } else await bootstrap(t, walkthrough)

    walkthrough.replace('<this repository>', repository(join(folder, 'source')))
    // The page goes into the clone by the line before, in the same shell.
    walkthrough.replace('npm ci &&', 'cd hyperseaport && npm ci &&')
    for (const command of commandsOf('README.md')) {
      await walkthrough.run(command)
      for (const line of command.prints) walkthrough.learn(line)
      // A reader ends the demo before going on.
      if (command.text.endsWith('npm start')) await walkthrough.stop()
    }
    await walkthrough.stop()
    await walkthrough.run({
      text: 'npm run build && npm install -g . && hyperseaport seed',
      machine: 'the clone',
      prints: ['registrySeed=…'],
      place: 'README.md, what works as well:'
    })
  }
)

/** Two hosts that reach each other over a network and share nothing. */
let hosts: Hosts | null = null

function machines(t: Test): Record<string, string[]> {
  hosts = new Hosts(t)
  return {
    'the first machine': hosts.add('first', FIRST),
    'the second machine': hosts.add('second', SECOND)
  }
}

/** The public DHT's part is played by a third host. */
async function bootstrap(t: Test, walkthrough: Walkthrough) {
  const cli = new Cli(t)
  const at = hosts?.add('dht', DHT) ?? []
  const node = cli.start(['bootstrap', '--host', DHT], { at })
  walkthrough.setEnv('HYPERSEAPORT_BOOTSTRAP', await node.waitForLine('bootstrap='))
}

/** What stands here, uncommitted changes too, as a repository to clone. */
function repository(path: string): string {
  cpSync(HOUSE, path, {
    recursive: true,
    filter: (source) => !NOT_CLONED.includes(basename(source))
  })
  const git = (...args: string[]) => execFileSync('git', ['-C', path, ...args])
  git('init', '--quiet')
  git('add', '--all')
  git('-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '-m', 'all')
  return path
}
