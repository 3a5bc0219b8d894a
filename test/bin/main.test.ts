import t from 'tap'
import { helpOf } from '../../bin/help.js'
import { SUMMARIES } from '../../bin/summaries.js'
import { loadVerbs } from '../../bin/verbs.js'
import { Cli } from './cli.js'

/** A folder that is never made, and nothing that is under way. */
const NEVER = `
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
fs.mkdir = () => new Promise(() => {})
syncBuiltinESMExports()
`

t.test('a command that cannot go on, and has nothing left to wait for, fails aloud', async (t) => {
  const cli = new Cli(t)
  const nodeFlags = ['--import', cli.write('never.mjs', NEVER)]
  const { code, stderr } = await cli.run(['app', 'create', 'shop'], { nodeFlags })
  t.equal(code, 1)
  t.match(stderr, /^nothing is left to wait for/)
})

/** Says at the end which packages were loaded. */
const PACKAGES = `
import { createRequire } from 'node:module'
const { cache } = createRequire(import.meta.url)
process.on('exit', () => {
  const paths = Object.keys(cache).map((file) => file.split('/node_modules/').at(-1).split('/'))
  const names = paths.map(([scope, name]) => (scope.startsWith('@') ? scope + '/' + name : scope))
  console.log('packages=' + [...new Set(names)].sort().join(' '))
})
`
/** What answers without a network. */
const QUICK = [
  '--version',
  '--help',
  'help service',
  'seed',
  `key --registryPublicKey ${'ab'.repeat(32)}`,
  `key --registryPublicKey ${'ab'.repeat(32)} --role couchdb@3.2.2 --port 5984`,
  'proxy --port 1',
  'lits'
]

t.test('what needs no network does not load the packages that make one', async (t) => {
  const cli = new Cli(t)
  const nodeFlags = ['--import', cli.write('packages.mjs', PACKAGES)]
  for (const line of QUICK) {
    const { stdout } = await cli.run(line.split(' '), { nodeFlags })
    t.match(stdout, /^packages=/m, line)
    t.notMatch(stdout, /^packages=.*(hyper|sodium|udx)/m, line)
  }
})

/** Says of each file of ours that it was loaded. */
const FILES = `
import { register } from 'node:module'
register('data:text/javascript,' + encodeURIComponent(\`
  import { writeSync } from 'node:fs'
  export function load(url, context, next) {
    writeSync(1, 'file=' + url + '\\\\n')
    return next(url, context)
  }
\`))
`

t.test(
  'the help of all verbs loads none but the one that is meant without a verb, and its part',
  async (t) => {
    const cli = new Cli(t)
    const nodeFlags = ['--import', cli.write('files.mjs', FILES)]
    const { stdout } = await cli.run(['--help'], { nodeFlags })
    const verbs = [...stdout.matchAll(/^file=.*\/commands\/(\w+)\.js$/gm)].map(([, verb]) => verb)
    t.same(verbs.sort(), ['registry', 'web'])
  }
)

t.test('each verb is in the help of all, as its own help says', async (t) => {
  const verbs = await loadVerbs()
  t.same(
    Object.keys(SUMMARIES),
    verbs.map(({ verb }) => verb)
  )
  for (const verb of verbs) t.ok(helpOf(verb).includes(`\n${SUMMARIES[verb.verb]}\n`), verb.verb)
})
