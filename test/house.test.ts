import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { TESTED_BY } from './mirror.js'
import { ROOMS, testsOf } from './rooms/rooms.js'

const HOUSE = resolve(import.meta.dirname, '../..')
const {
  inspect,
  LADDER
}: { inspect: (root: string) => { faults: string[]; doors: string[] }; LADDER: string[][] } =
  await import(join(HOUSE, 'check/house.mjs'))

/** Read once, since there are hundreds of files. */
const found = inspect(HOUSE)
const imports = new Map<string, string[]>()

t.test('this house is as its plan says', async (t) => {
  t.same(found.faults, [])
})

t.test('each file of lib/ has a test of its name, or one that is named for it', async (t) => {
  const named = new Map(
    Object.entries(TESTED_BY).flatMap(([test, files]) => files.map((file) => [file, test]))
  )
  for (const file of await namesOf('lib')) {
    if (file.startsWith('dashboard/app/')) continue
    const namesake = existsSync(join(HOUSE, 'test', `${file}.test.ts`))
    if (namesake) t.notOk(named.has(file), `lib/${file}.ts has a test of its own`)
    else t.ok(named.has(file), `lib/${file}.ts: write its test, or name it in test/mirror.ts`)
  }
  for (const [file, test] of named) {
    t.ok(existsSync(join(HOUSE, 'lib', `${file}.ts`)), `lib/${file}.ts is in test/mirror.ts`)
    if (/^test\/(bin|heavy)\//.test(test)) continue
    t.ok(loadedBy(test).has(`lib/${file}.ts`), `${test} loads lib/${file}.ts`)
  }
})

t.test('every room of tests has a test', async (t) => {
  for (const room of Object.keys(ROOMS)) t.not(testsOf(room).length, 0, room)
})

t.test('the page on the house has its ladder and the doors of the registry', async (t) => {
  const page = await readFile(join(HOUSE, 'docs/internals/house.md'), 'utf8')
  const rows = [...page.matchAll(/^\| \d+ \| ([^|]*) \|/gm)]
  t.same(
    rows.map(([, rooms = '']) => rooms.replaceAll('`', '').split(', ')),
    LADDER
  )
  const doors = [...page.matchAll(/^\| `([^`]+\/[^`]+\.ts)` \|/gm)]
  t.same(doors.map(([, door]) => `lib/registry/${door}`).sort(), found.doors)
})

t.test('an import is refused where it does not go down the ladder', async (t) => {
  const house = await build(t, {
    'lib/core/keys.ts': ["import type { Link } from '../link/link.js'"],
    'lib/link/link.ts': ["export * from '../registry/trust/record.js'", "import '../core/role.js'"],
    'lib/registry/trust/record.ts': ["import '../log/log.js'"],
    'lib/registry/log/log.ts': [
      "import '../trust/grant.js'",
      "const peer = import('../swarm/peer.js')"
    ],
    'lib/dialing/dialer.ts': ["import '../serving/health.js'", "import '../link/pool.js'"],
    'lib/dashboard/app/app.tsx': ["import '../../core/keys.js'"],
    'lib/service.ts': ["import './proxy/tcp-proxy.js'", "import './index.js'"],
    'bin/seed.ts': ["import '../lib/core/keys.js'", "import '../lib/service.js'"]
  })
  t.same(
    inspect(house)
      .faults.map((fault) => fault.replaceAll(/ \([^)]*\)|:.*/g, ''))
      .sort(),
    [
      'bin/seed.ts imports lib/core/keys.ts',
      'lib/core/keys.ts imports lib/link/link.ts',
      'lib/dashboard/app/app.tsx imports lib/core/keys.ts',
      'lib/dialing/dialer.ts imports lib/serving/health.ts',
      'lib/link/link.ts imports lib/registry/trust/record.ts',
      'lib/registry/log/log.ts imports lib/registry/swarm/peer.ts',
      'lib/registry/trust/record.ts imports lib/registry/log/log.ts',
      'lib/service.ts imports lib/index.ts'
    ]
  )
})

t.test('a circle is refused, of types too, and so is a file that is too long', async (t) => {
  const house = await build(t, {
    'lib/core/keys.ts': ["import type { Role } from './role.js'"],
    'lib/core/role.ts': ["import { Keys } from './keys.js'"],
    'bin/long.ts': Array(401).fill(''),
    'lib/core/as-long-as-may-be.ts': Array(400).fill('')
  })
  t.same(inspect(house).faults.sort(), [
    'bin/long.ts has 401 lines, at most 400 are allowed',
    'circle: lib/core/keys.ts → lib/core/role.ts → lib/core/keys.ts'
  ])
})

t.test('the registry has no more doors than the docs list', async (t) => {
  const doors = Array.from({ length: 13 }, (_, i) => `registry/trust/door-${i}`)
  const imports = doors.map((door) => `import './${door}.js'`)
  const house = await build(t, {
    'lib/web.ts': imports,
    ...Object.fromEntries(doors.map((door) => [`lib/${door}.ts`, ['']]))
  })
  t.match(inspect(house).faults, [/registry\/ has 13 doors, at most 12 are allowed/])
})

t.test('what dependencies and Node do not promise is used in the files named for it', async (t) => {
  const house = await build(t, {
    'lib/core/holepunch.ts': ['swarm._allConnections', 'raw.inflight'],
    'lib/link/direct/tcp-socket.ts': ['socket._handle'],
    'lib/core/lifecycle.ts': ['class A { run() { this._close() } }'],
    'lib/core/network.ts': ['swarm._allConnections', "dht['_relayAddressesCache']"],
    'lib/link/backlog.ts': ['const { bbrBandwidth } = raw'],
    'lib/link/link.ts': ['const { _writableState: state } = raw', 'socket._handle'],
    'bin/seed.ts': ["import { setFlagsFromString } from 'node:v8'"]
  })
  t.same(
    inspect(house)
      .faults.map((fault) => fault.replace(/,.*/, ''))
      .sort(),
    [
      'bin/seed.ts uses setFlagsFromString',
      'lib/core/network.ts uses _allConnections',
      'lib/core/network.ts uses _relayAddressesCache',
      'lib/link/backlog.ts uses bbrBandwidth',
      'lib/link/link.ts uses _handle',
      'lib/link/link.ts uses _writableState'
    ]
  )
})

t.test(
  'who measures time and dates nothing does not ask the clock, which somebody may set',
  async (t) => {
    const rooms = ['core', 'link', 'dialing', 'serving', 'proxy', 'registry/swarm']
    const files = (await namesOf('lib')).filter((file) =>
      rooms.some((r) => file.startsWith(`${r}/`))
    )
    for (const file of [...files, 'registry/log/maintenance']) {
      if (file === 'core/duration') continue
      t.notMatch(
        await readFile(join(HOUSE, 'lib', `${file}.ts`), 'utf8'),
        'Date.now',
        `lib/${file}.ts`
      )
    }
  }
)

/** A house of files, given as lines. */
async function build(t: Test, sources: Record<string, string[]>): Promise<string> {
  const house = await mkdtemp(join(tmpdir(), 'hyperseaport-house-'))
  t.teardown(() => rm(house, { recursive: true }))
  for (const folder of ['lib', 'bin']) await mkdir(join(house, folder))
  for (const [file, lines] of Object.entries(sources)) {
    await mkdir(dirname(join(house, file)), { recursive: true })
    await writeFile(join(house, file), `${lines.join('\n')}\n`)
  }
  return house
}

/** The sources in a folder, without `.ts`. */
async function namesOf(folder: string): Promise<string[]> {
  const names = await readdir(join(HOUSE, folder), { recursive: true })
  return names.filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -'.ts'.length))
}

/** What a source imports, and what that imports. */
function loadedBy(source: string, loaded = new Set<string>()): Set<string> {
  if (loaded.has(source) || !existsSync(join(HOUSE, source))) return loaded
  loaded.add(source)
  const imported = imports.get(source) ?? importedBy(source)
  imports.set(source, imported)
  for (const file of imported) loadedBy(file, loaded)
  return loaded
}

function importedBy(source: string): string[] {
  const text = readFileSync(join(HOUSE, source), 'utf8')
  const imported = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
  // What a thread runs is named by its address.
  const threads = [...text.matchAll(/new URL\('([^']+\.js)'/g)].map(([, name = '']) => name)
  return [...imported, ...threads]
    .filter((name) => name.startsWith('.'))
    .map((name) => join(dirname(source), name).replace(/\.js$/, '.ts'))
}
