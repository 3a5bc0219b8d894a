import { chmodSync, symlinkSync } from 'node:fs'
import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Cli, type CliOptions } from './cli.js'

/** Seeds by where they are configured. None is one, and `registry` says how long the one is that it was given. */
const SEEDS = { flag: '1', environment: '12', named: '123', nearby: '1234', user: '12345' }

t.test('flags go before the environment, and that before the config file', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport', `registrySeed=${SEEDS.user}`)
  const env = { HYPERSEAPORT_REGISTRY_SEED: SEEDS.environment }
  t.equal(await seedInUse(cli), SEEDS.user)
  t.equal(await seedInUse(cli, [], { env }), SEEDS.environment)
  t.equal(await seedInUse(cli, ['--registrySeed', SEEDS.flag], { env }), SEEDS.flag)
})

t.test('the file named goes before the nearest one, and that before the user’s', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport/config', `registrySeed=${SEEDS.user}`)
  cli.write('project/.hyperseaportrc', `registrySeed=${SEEDS.nearby}`)
  cli.write('project/src/deep/file', '')
  const cwd = cli.path('project/src/deep')
  const named = cli.write('named.ini', `registrySeed=${SEEDS.named}`)
  t.equal(await seedInUse(cli), SEEDS.user)
  t.equal(await seedInUse(cli, [], { cwd }), SEEDS.nearby)
  t.equal(await seedInUse(cli, ['--config', named], { cwd }), SEEDS.named)
  t.equal(await seedInUse(cli, [], { cwd, env: { HYPERSEAPORT_CONFIG: named } }), SEEDS.named)
})

t.test('the user’s file is where XDG_CONFIG_HOME says', async (t) => {
  const cli = new Cli(t)
  cli.write('.config/hyperseaport', `registrySeed=${SEEDS.nearby}`)
  cli.write('elsewhere/hyperseaport', `registrySeed=${SEEDS.user}`)
  const env = { XDG_CONFIG_HOME: cli.path('elsewhere') }
  t.equal(await seedInUse(cli, [], { env }), SEEDS.user)
})

t.test(
  'a home that cannot be looked into, and a folder that was deleted, hold no config file',
  async (t) => {
    const cli = new Cli(t)
    symlinkSync('loop', cli.path('loop'))
    const home = { HOME: cli.path('loop') }
    t.match(await cli.ask(['seed'], { env: home }), { code: 0, stderr: '' })
    cli.write('gone/.keep', '')
    const deleted = ['sh', '-c', 'rm -r "$PWD"; exec "$@"', '-']
    t.match(await cli.run(['seed'], { cwd: cli.path('gone'), at: deleted }), {
      code: 0,
      stderr: ''
    })
  }
)

t.test(
  'a user without a home is told to name a folder, and needs none who names one',
  async (t) => {
    if (process.getuid?.() !== 0) {
      t.comment('only root may be somebody whom nobody knows')
      return
    }
    const cli = new Cli(t)
    await cli.island()
    const seed = '1'.repeat(64)
    const config = cli.write('config', `registrySeed=${seed}`)
    const nobody = [
      'env',
      '-u',
      'HOME',
      'setpriv',
      '--reuid=54321',
      '--regid=54321',
      '--clear-groups',
      // The clone itself may be in a folder that only its owner may read.
      '--inh-caps=+dac_read_search',
      '--ambient-caps=+dac_read_search'
    ]
    chmodSync(cli.home, 0o777)
    const unknown = { cwd: '/', at: nobody }
    if ((await cli.run(['--version'], unknown)).code !== 0) {
      t.comment('this machine lets nobody else read the program')
      return
    }
    t.match(await cli.run(['registry', '--config', config], unknown), {
      code: 1,
      stderr: /^STORAGE_FAILED: .*--dir.*\n$/
    })
    const registry = cli.start(['--config', config, '--dir', cli.path('data')], unknown)
    await registry.waitForLine('registryPublicKey=')
    const registryPublicKey = toHex(KeyPair(Buffer.from(seed, 'hex')).publicKey)
    const list = await cli.run(['list', '--registryPublicKey', registryPublicKey], unknown)
    t.match(list, { code: 0, stderr: 'nothing is registered\n' })
    const line = [
      'service',
      '-p',
      '1',
      '-r',
      'a@1.0.0',
      '--check',
      'none',
      '--seed',
      '2'.repeat(64)
    ]
    const service = cli.start([...line, '--registryPublicKey', registryPublicKey], unknown)
    await service.waitForLine('registered service')
  }
)

t.test('the environment has no case, and underscores are free', async (t) => {
  const cli = new Cli(t)
  for (const name of [
    'HYPERSEAPORT_REGISTRY_SEED',
    'HYPERSEAPORT_REGISTRYSEED',
    'hyperseaport_registrySeed'
  ]) {
    t.equal(await seedInUse(cli, [], { env: { [name]: SEEDS.environment } }), SEEDS.environment)
  }
})

t.test('an empty variable counts as unset', async (t) => {
  const cli = new Cli(t)
  const { stderr } = await cli.ask(['registry'], { env: { HYPERSEAPORT_REGISTRY_SEED: '' } })
  t.match(stderr, /^USAGE: --registrySeed is missing/)
})

const SEED = '05'.repeat(32)

t.test('INI may have comments, spaces, dashes and lists; JSON says the same', async (t) => {
  const cli = new Cli(t)
  const bootstrap = await cli.island()
  const registryPublicKey = publicKeyOf(SEED)
  cli.start(['registry', '--registrySeed', SEED])
  cli.write(
    'ini',
    `; a comment\n# another\n\nregistry-public-key = ${registryPublicKey}\nport=9\nrole=ini@1.0.0\n` +
      `tag[]=red\ntag[]=blue\nbootstrap=${bootstrap}\n`
  )
  const json = { registryPublicKey, port: 9, role: 'json@1.0.0', tag: ['red', 'blue'], bootstrap }
  cli.write('json', JSON.stringify({ ...json, bootstrap: [bootstrap] }))
  for (const name of ['ini', 'json']) {
    const service = cli.start(['service', '--config', name, '--dir', `${name}-data`], {
      env: { HYPERSEAPORT_BOOTSTRAP: '' }
    })
    const registered = await service.waitForLine('registered service ')
    t.match(registered, `role: '${name}', version: '1.0.0'`)
    t.match(registered, "[ 'red', 'blue' ]")
  }
})

t.test('what seed prints is all that registry needs', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  const { stdout } = await cli.ask(['seed'])
  cli.write('.config/hyperseaport', stdout)
  const registry = cli.start([])
  t.match(stdout, `registryPublicKey=${await registry.waitForLine('registryPublicKey=')}\n`)
})

t.test('a file that cannot be read is named with what is wrong', async (t) => {
  const cli = new Cli(t)
  const refusals: [name: string, text: string, problem: RegExp][] = [
    ['ini', 'registrySeed=1\nnonsense\n', /line 2 is not key=value/],
    ['section', '[registry]\nregistrySeed=1\n', /line 1 is not key=value/],
    ['json', '{ "registrySeed": ', /not valid JSON/],
    ['nested', '{ "registry": { "seed": 1 } }', /registry must be a text/],
    ['null', '{ "registrySeed": null }', /registrySeed must be a text/]
  ]
  for (const [name, text, problem] of refusals) {
    const path = cli.write(name, text)
    const { code, stderr } = await cli.ask(['registry', '--config', path])
    t.equal(code, 2, name)
    t.match(stderr, /^BAD_CONFIG: .*\n$/)
    t.match(stderr, path)
    t.match(stderr, problem)
  }
  const { code, stderr } = await cli.ask(['registry', '--config', 'absent'])
  t.equal(code, 2)
  t.match(stderr, /^BAD_CONFIG: .*absent: cannot be read \(ENOENT\)\n$/)
})

t.test('an error names the place its value came from', async (t) => {
  const cli = new Cli(t)
  const path = cli.write('.hyperseaportrc', 'port=high\n')
  t.match((await cli.ask(['bootstrap'])).stderr, `USAGE: --port (from ${path}) must be`)
  const env = { HYPERSEAPORT_PORT: 'low' }
  const { stderr } = await cli.ask(['bootstrap'], { env })
  t.match(stderr, 'USAGE: --port (from the environment) must be')
})

t.test('keys of other verbs are left alone, and those of none are pointed out', async (t) => {
  const cli = new Cli(t)
  const path = cli.write('.hyperseaportrc', 'role=couchdb@1.x\nprot=80\n')
  const { code, stderr } = await cli.ask(['seed'])
  t.equal(code, 0)
  t.equal(stderr, `${path}: prot is unknown to every verb\n`)
})

/** Which of the seeds a registry is given. */
async function seedInUse(cli: Cli, args: string[] = [], options: CliOptions = {}) {
  const { code, stderr } = await cli.ask(['registry', ...args], options)
  const [, length] = /^BAD_KEY: .*registrySeed.* this has (\d) characters\n$/.exec(stderr) ?? []
  return code === 2 && Object.values(SEEDS).find((seed) => seed.length === Number(length))
}

function publicKeyOf(seed: string): string {
  return toHex(KeyPair(seed).publicKey)
}
