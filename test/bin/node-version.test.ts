import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { satisfies } from 'semver'
import t from 'tap'
import { refusalOf } from '../../bin/node-version.js'
import { Cli } from './cli.js'

const HOUSE = resolve(import.meta.dirname, '../../..')
const ENTRY = resolve(import.meta.dirname, '../../bin/hyperseaport.js')

const SUPPORTED = ['20.19.0', '20.20.3', '22.12.0', '22.21.1', '23.0.0', '24.1.0', '30.0.0']
const UNSUPPORTED = ['14.21.3', '18.20.8', '20.0.0', '20.18.3', '21.7.3', '22.0.0', '22.11.0']

t.test('a supported Node is let through, and each other one hears what is needed', async (t) => {
  for (const version of SUPPORTED) t.equal(refusalOf(version), null, version)
  for (const version of UNSUPPORTED) {
    t.match(refusalOf(version), new RegExp(`20\\.19.*22\\.12.*Node ${version}`), version)
  }
})

t.test('package.json says the same to npm', async (t) => {
  const { engines } = JSON.parse(readFileSync(resolve(HOUSE, 'package.json'), 'utf8'))
  for (const version of SUPPORTED) t.ok(satisfies(version, engines.node), version)
  for (const version of UNSUPPORTED) t.notOk(satisfies(version, engines.node), version)
})

t.test(
  'an unsupported Node gets one line and exit code 1 before anything is imported',
  async (t) => {
    const cli = new Cli(t)
    const program = cli.write(
      'old.mjs',
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8', v8: undefined } })
    await import(${JSON.stringify(ENTRY)})`
    )
    const { code, stdout, stderr } = await cli.run(['seed'], { program })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr, /^NODE_UNSUPPORTED: .*\n$/)
  }
)

t.test(
  'where not even its own parts can be opened, it says so in one line',
  { skip: process.platform === 'win32' && 'there is no ulimit' },
  async (t) => {
    const cli = new Cli(t)
    for (const limit of [32, 28, 26, 24, 22, 20]) {
      const at = ['sh', '-c', `ulimit -n ${limit}; exec "$@"`, '-']
      const { code, stderr } = await cli.run(['list'], { at })
      // With fewer still, Node itself cannot open its first file, nor find out what kind of file that is.
      if (/open '.*\/hyperseaport\.js'|shouldUseESMLoader/.test(stderr)) continue
      t.match(stderr, /^(STORAGE_FAILED|USAGE): .*\n$/, `${limit} files`)
      t.ok(code === 1 || code === 2, `${limit} files: exit code`)
    }
  }
)
