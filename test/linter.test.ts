import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const HOUSE = resolve(import.meta.dirname, '../..')
const BIOME = join(HOUSE, 'node_modules/@biomejs/biome/bin/biome')

t.test('only two files import the stack below us', async (t) => {
  const refused = await lint(t, 'lint/style/noRestrictedImports', {
    'lib/core/holepunch.ts': ["import 'hyperdht'"],
    'lib/registry/log/hypercore.ts': ["import 'hyperbee/lib/messages'"],
    'lib/core/keys.ts': ["import 'semver'", "import 'sodium-universal'"],
    'test/keys.test.ts': ["import 'z32'"],
    'bin/seed.ts': ["import 'hyperdht/testnet.js'"]
  })
  t.same(refused, ['bin/seed.ts:1', 'lib/core/keys.ts:2', 'test/keys.test.ts:1'])
})

t.test('imports in a circle are refused', async (t) => {
  const refused = await lint(t, 'lint/suspicious/noImportCycles', {
    'lib/core/keys.ts': ["import './role.js'"],
    'lib/core/role.ts': ["import './keys.js'"]
  })
  t.same(refused, ['lib/core/keys.ts:1', 'lib/core/role.ts:1'])
})

t.test('only bin/ and examples/ print or exit', async (t) => {
  for (const [rule, line] of [
    ['lint/suspicious/noConsole', "console.log('hello')"],
    ['plugin', 'process.exit(1)']
  ] as const) {
    const sources = { 'bin/a.ts': [line], 'examples/a.ts': [line], 'lib/a.ts': [line] }
    t.same(await lint(t, rule, sources), ['lib/a.ts:1'], rule)
  }
})

t.test('a promise nobody waits for is refused', async (t) => {
  const refused = await lint(t, 'lint/nursery/noFloatingPromises', {
    'lib/a.ts': ['async function close() {}', 'await close()', 'close()']
  })
  t.same(refused, ['lib/a.ts:3'])
})

/** What one rule of ours refuses in a tree of sources, given as lines, as `file:line`. */
async function lint(t: Test, rule: string, sources: Record<string, string[]>): Promise<string[]> {
  const tree = await mkdtemp(join(tmpdir(), 'hyperseaport-linter-'))
  t.teardown(() => rm(tree, { recursive: true }))
  for (const config of ['biome.json', 'biome.exit.grit', '.gitignore']) {
    await cp(join(HOUSE, config), join(tree, config))
  }
  for (const [file, lines] of Object.entries(sources)) {
    await mkdir(dirname(join(tree, file)), { recursive: true })
    await writeFile(join(tree, file), lines.join('\n'))
  }
  const args = ['lint', '--reporter=json', '--max-diagnostics=none']
  const { stdout } = await promisify(execFile)(process.execPath, [BIOME, ...args], {
    cwd: tree
  }).catch((error: { stdout: string }) => error) // it exits with 1 when it refuses
  const report: { diagnostics: Diagnostic[] } = JSON.parse(stdout)
  const found = report.diagnostics.filter(({ category }) => category === rule)
  return found.map(({ location }) => `${location.path}:${location.start.line}`).sort()
}

interface Diagnostic {
  category: string
  location: { path: string; start: { line: number } }
}
