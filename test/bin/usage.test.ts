import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseArguments } from '../../bin/arguments.js'
import { helpOf } from '../../bin/help.js'
import { Lifetime } from '../../bin/lifetime.js'
import { Settings } from '../../bin/settings.js'
import { loadVerb } from '../../bin/verbs.js'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { BALANCE_MODES } from '../../lib/dialing/balancer.js'
import { SeaportError } from '../../lib/identity.js'
import { isPublicKey } from '../../lib/public-key.js'
import { Cli } from './cli.js'

const KEY = '5b64a8956d8f2404c4f4b4e6f402ef439f610f7fe297718093641359130b0d45'
const SERVICE = ['service', '--registryPublicKey', KEY]
const PROXY = ['proxy', '--registryPublicKey', KEY]

/** Command lines, and the one line that they are refused with. */
const REFUSALS: [args: string[], line: RegExp][] = [
  [['prxy'], /^USAGE: unknown verb prxy, did you mean proxy\? Run 'hyperseaport --help'\.$/],
  [['telescope'], /^USAGE: unknown verb telescope\. Run 'hyperseaport --help'\.$/],
  [['--prot', '80'], /^USAGE: unknown flag --prot\. Run 'hyperseaport registry --help'\.$/],
  [
    ['proxy', '--prot', '80'],
    /^USAGE: unknown flag --prot, did you mean --port\? Run 'hyperseaport proxy --help'\.$/
  ],
  [['seed', '--port', '80'], /^USAGE: unknown flag --port, it belongs to service, .* Run/],
  [['proxy', '-z'], /^USAGE: unknown flag -z/],
  [['seed', 'twice'], /^USAGE: unexpected argument "twice"/],
  [['list', 'couchdb', 'redis'], /^USAGE: unexpected argument "redis"/],
  [['registry'], /^USAGE: --registrySeed is missing: make one with 'hyperseaport seed/],
  [[], /^USAGE: --registrySeed is missing/],
  [['registry', '--registrySeed', 'short'], /^BAD_KEY: .* this has 5 characters$/],
  [['registry', '--registrySeed', '@nowhere'], /^USAGE: --registrySeed names a file .*nowhere/],
  [[...SERVICE, '-r', 'couchdb@3.2.2'], /^USAGE: --port is missing: .*--target host:port/],
  [[...SERVICE, '-p', '5984'], /^USAGE: --role is missing: .*couchdb@3\.2\.2/],
  [[...SERVICE, '-p', 'http', '-r', 'a@1.0.0'], /^USAGE: --port must be a port .* not "http"/],
  [[...SERVICE, '-p', '0', '-r', 'a@1.0.0'], /^USAGE: --port must be a port from 1 to 65535/],
  [[...SERVICE, '-p', '65536', '-r', 'a@1.0.0'], /^USAGE: --port must be a port/],
  [[...SERVICE, '-p', '-1', '-r', 'a@1.0.0'], /^USAGE: --port must be a port/],
  [[...SERVICE, '-p', '-r', 'a@1.0.0'], /^USAGE: --port needs a value/],
  [[...SERVICE, '-p', '1', '-p', '2', '-r', 'a@1.0.0'], /^USAGE: --port can have one value/],
  [[...SERVICE, '--target', 'nowhere', '-r', 'a@1.0.0'], /^USAGE: .*host:port.*"nowhere"/],
  [[...SERVICE, '--target', 'http://localhost:80', '-r', 'a@1.0.0'], /^USAGE: .*host:port/],
  [['list', '--json=maybe'], /^USAGE: --json takes no value, only =true or =false/],
  [['--versoin'], /^USAGE: unknown flag --versoin, did you mean --version\?/],
  [[...SERVICE, '-p', '5984', '-r', 'bad@1.x'], /^BAD_ROLE: .*exact version.*bad@1\.0\.0/],
  [[...SERVICE, '-p', '5984', '-r', 'bad'], /^BAD_ROLE: .*exact version/],
  [[...SERVICE, '-p', '5984', '-r', 'a b@1.0.0'], /^BAD_ROLE: .*not a role name/],
  [[...SERVICE, '-p', '1', '-r', 'a@1.0.0', '--seed', 'x'], /^BAD_KEY: the seed/],
  [['service', '-p', '5984', '-r', 'a@1.0.0'], /^USAGE: --registryPublicKey is missing: /],
  [
    ['service', '-p', '5984', '-r', 'a@1.0.0', '--registryPublicKey', KEY.slice(1)],
    /^BAD_KEY: the registryPublicKey must be 64 characters of hex .* this has 63 characters$/
  ],
  [[...PROXY, '-r', 'couchdb@3.x'], /^USAGE: --port is missing: the local port/],
  [[...PROXY, '-p', '5985'], /^USAGE: --role is missing: .*couchdb@3\.x/],
  [[...PROXY, '-p', '5985', '-r', 'couchdb@three'], /^BAD_ROLE: three is not a semver range/],
  [['list', 'couchdb@three', '--registryPublicKey', KEY], /^BAD_ROLE: /],
  [
    ['service'],
    /^USAGE: --port is missing: the port .* elsewhere; --role is missing: the name .*; --registryPublicKey is missing: what .* printed\. Run/
  ],
  [
    ['service', '--target', 'b:1'],
    /^USAGE: --role is missing: [^;]*; --registryPublicKey is missing: [^;]*$/
  ],
  [
    ['service', '--', 'ls'],
    /^USAGE: --role is missing: [^;]*; --registryPublicKey is missing: [^;]*$/
  ],
  [
    ['proxy', '-p', '0'],
    /^USAGE: --role is missing: [^;]*; --registryPublicKey is missing: [^;]*$/
  ],
  [
    ['call', 'agent'],
    /^USAGE: --command is missing: [^;]*; inspect lists them; --registryPublicKey is missing: [^;]*$/
  ],
  [['list', '--status', 'well'], /^USAGE: --status must be one of passing, failing, .* not "well"/],
  [['list', '--sort', 'age'], /^USAGE: --sort must be one of role, .* not "age"/],
  [['watch', '--registryPublicKey', 'zz'], /^BAD_KEY: /],
  [
    ['host', '--driver', 'docker', '--registryPublicKey', KEY],
    /^USAGE: there is no driver docker; there is process/
  ],
  [
    ['list', '--registryPublicKey', KEY, '--bootstrap', 'nowhere'],
    /^USAGE: a bootstrap node is host:port.*"nowhere"/
  ]
]

/** Of each way to be refused, one whose end is tried, too: its exit code, and what is printed. */
const EACH_WAY = [
  'prxy',
  'proxy --prot 80',
  '',
  'registry --registrySeed short',
  'registry --registrySeed @nowhere',
  [...SERVICE, '-p', '5984', '-r', 'bad@1.x'].join(' '),
  ['list', '--registryPublicKey', KEY, '--bootstrap', 'nowhere'].join(' ')
]

t.test('a misuse is refused in one helpful line', async (t) => {
  for (const [line, text] of REFUSALS) {
    const error = await misuse(line)
    t.ok(error instanceof SeaportError, line.join(' '))
    t.match(String((error as Error).message), text, line.join(' '))
    t.notMatch((error as Error).message, '\n')
  }
})

t.test('a misuse exits with 2, and with that line', async (t) => {
  const cli = new Cli(t)
  const refused = REFUSALS.filter(([args]) => EACH_WAY.includes(args.join(' ')))
  for (const [i, [args, line]] of refused.entries()) {
    // The binary itself once: it ends with what the program says.
    const { code, stdout, stderr } = await (i === 0 ? cli.run(args) : cli.ask(args))
    t.equal(code, 2, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr.replace(/\n$/, ''), line)
    t.equal(stderr.split('\n').length, 2, 'one line')
  }
})

t.test('a seed in the wrong place is not repeated', async (t) => {
  const cli = new Cli(t)
  const zBase32 = 'yzz4nwtq8ec3fwk8wkgbwkxcf4uepwrwaf6g93zbzqyuoxuk3fiy'
  for (const seed of [KEY, zBase32]) {
    for (const args of [
      [seed],
      ['seed', seed],
      ['list', `--${seed}`],
      ['proxy', '-r', 'a', '-p', seed, '--registryPublicKey', KEY],
      [...SERVICE, '-p', '1', '-r', `a@${seed}`],
      ['registry', '--registrySeed', seed, '--staleGrace', seed],
      ['list', '--registryPublicKey', `${seed}0`]
    ]) {
      const { code, stdout, stderr } = await cli.ask(args)
      t.equal(code, 2, stderr)
      t.notMatch(stdout + stderr, seed.slice(0, 8))
    }
  }
})

t.test('a key that nobody answers for is shortened, since it may be the seed', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  const [passing] = Array.from({ length: 1000 }, randomSeed).filter(isPublicKey)
  const key = passing?.toString('hex') ?? ''
  const list = cli.start(['list', '--registryPublicKey', key])
  const said = await list.waitForTalk('still searching for the registry ')
  t.equal(said, `${key.slice(0, 4)}…`)
  const { stdout, stderr } = await list.kill('SIGINT')
  t.notMatch(stdout + stderr, key.slice(0, 8))
})

t.test('a seed that passes for a public key is known where its registry was used', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  const [passing = Buffer.alloc(32)] = Array.from({ length: 1000 }, randomSeed).filter(isPublicKey)
  const { publicKey } = KeyPair(passing)
  const data = cli.path('data')
  mkdirSync(join(data, 'hyperseaport', toHex(publicKey)), { recursive: true })
  const line = ['proxy', '-p', '0', '-r', 'a', '--registryPublicKey', toHex(passing)]
  const proxy = cli.start(line, { env: { XDG_DATA_HOME: data } })
  t.match(await proxy.waitForLine('connecting to registry '), /is it the seed\?$/)
  const { stdout, stderr } = await proxy.kill('SIGINT')
  t.notMatch(stdout + stderr, toHex(passing).slice(0, 8))
})

/** What the program does with a command line, without a process for each: the error that it ends with. */
async function misuse(line: string[]): Promise<unknown> {
  try {
    const parsed = await parseArguments(line)
    if (parsed.asks !== 'verb') return parsed
    const { command, values } = parsed
    return await command.run(new Settings(command, values, {}, null), new Lifetime())
  } catch (error) {
    return error
  }
}

t.test('the public DHT is not touched while offline', async (t) => {
  const { code, stderr } = await new Cli(t).run(['list', '--registryPublicKey', KEY])
  t.equal(code, 1)
  t.match(stderr, /^OFFLINE: .*--bootstrap.*\n$/)
})

t.test('an error has a stack only when asked to say more', async (t) => {
  const cli = new Cli(t)
  const args = ['list', '--registryPublicKey', KEY]
  t.notMatch((await cli.ask(args)).stderr, /^ {4}at /m)
  t.match((await cli.run([...args, '--verbose'])).stderr, /^ {4}at /m)
})

t.test('every verb has help with examples', async (t) => {
  const cli = new Cli(t)
  const verbs =
    'registry service proxy web list watch seed key grant revoke grants export import access bootstrap demo'
  const { code, stdout } = await cli.run(['--help'])
  t.equal(code, 0)
  for (const verb of verbs.split(' ')) {
    t.match(stdout, new RegExp(`hyperseaport ${verb}`))
    const command = await loadVerb(verb)
    if (!command) throw new Error(`there is no ${verb}`)
    t.match(helpOf(command), new RegExp(`Examples:\\n +hyperseaport ${verb}`))
  }
  const help = await cli.ask(['proxy', '-h'])
  t.match(help.stdout, 'semver range')
  t.same(await cli.ask(['help', 'proxy']), help)
  for (const mode of BALANCE_MODES) t.match(help.stdout.replaceAll(/\s+/g, ' '), ` ${mode}`)
  const lines = stdout.split('\n')
  for (const line of lines) t.ok(line.length <= 100, line)
  t.ok(lines.length <= 60, `${lines.length} lines are at hand at a glance`)
})

t.test('the version is the package’s', async (t) => {
  const { code, stdout } = await new Cli(t).run(['--version'])
  t.equal(code, 0)
  t.match(stdout, /^\d+\.\d+\.\d+\n$/)
})

t.test('every size is written in the same ways, and a wrong one names its flag', async (t) => {
  const cli = new Cli(t)
  cli.seed()
  for (const [verb, flag] of [
    ['registry', 'relay'],
    ['registry', 'maxBody'],
    ['peer', 'store'],
    ['host', 'memory']
  ] as const) {
    const wrong = await cli.ask([verb, `--${flag}`, 'much'])
    t.match(wrong, { code: 2, stderr: `USAGE: --${flag} must be a size as in 200MB` })
  }
})

t.test('flags are taken with dashes too', async (t) => {
  const seed = '01'.repeat(32)
  const { code, stdout } = await new Cli(t).ask(['seed', '--registry-seed', seed])
  t.equal(code, 0)
  t.match(stdout, `registrySeed=${seed}`)
})
