import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const HOUSE = resolve(import.meta.dirname, '../..')
const BIOME = join(HOUSE, 'node_modules/@biomejs/biome/bin/biome')

/** Imports of every kind, by the file they stand in, and whether the ladder lets them pass. */
const IMPORTS: Record<string, Record<string, 'may' | 'may not'>> = {
  'lib/core/keys.ts': {
    './errors.js': 'may',
    './holepunch.js': 'may',
    'node:fs/promises': 'may',
    hyperdht: 'may not',
    './registry/record.js': 'may not',
    './index.js': 'may not'
  },
  'lib/core/holepunch.ts': { hyperdht: 'may', './keys.js': 'may not' },
  'lib/registry/log/hypercore.ts': {
    corestore: 'may',
    hyperbee: 'may',
    'hyperbee/lib/messages': 'may',
    '../holepunch.js': 'may',
    hyperdht: 'may not',
    '../keys.js': 'may not',
    './log.js': 'may not'
  },
  'lib/registry/trust/record.ts': {
    './log.js': 'may',
    '../keys.js': 'may',
    semver: 'may',
    hyperbee: 'may not',
    '@hyperswarm/secret-stream': 'may not',
    '../link/link.js': 'may not',
    '../../lib/link/link.js': 'may not',
    '../dialing/dialer.js': 'may not'
  },
  'lib/link/acceptor.ts': { '../network.js': 'may', '../registry/grant.js': 'may not' },
  'lib/dialing/dialer.ts': {
    '../registry/directory.js': 'may',
    '../link/pool.js': 'may',
    './balancer.js': 'may',
    '../serving/health.js': 'may not',
    '../messaging/mail.js': 'may not',
    '../consumer.js': 'may not'
  },
  'lib/messaging/mail.ts': { '../dialing/dialer.js': 'may', '../edge/tcp-proxy.js': 'may not' },
  'lib/proxy/tcp-proxy.ts': { '../messaging/commands.js': 'may', '../service.js': 'may not' },
  'lib/service.ts': {
    './edge/tcp-proxy.js': 'may',
    './registry/lease.js': 'may',
    './hosting/host.js': 'may not',
    './index.js': 'may not'
  },
  'lib/hosting/host.ts': { '../service.js': 'may', '../index.js': 'may not' },
  'lib/index.ts': { './hosting/host.js': 'may', 'node:fs': 'may not' },
  'bin/commands/seed.ts': {
    '../../lib/index.js': 'may',
    yargs: 'may',
    'hyperdht/testnet.js': 'may not'
  },
  'test/keys.test.ts': { '../lib/keys.js': 'may', z32: 'may not' }
}

t.test('imports run down the ladder and every other is refused', async (t) => {
  const sources: Record<string, string[]> = {}
  for (const [file, verdicts] of Object.entries(IMPORTS)) {
    sources[file] = Object.keys(verdicts).map((specifier) => `import '${specifier}'`)
  }
  const refused = await lint(t, 'lint/style/noRestrictedImports', sources)
  for (const [file, verdicts] of Object.entries(IMPORTS)) {
    for (const [i, [specifier, verdict]] of Object.entries(verdicts).entries()) {
      const found = refused.includes(`${file}:${i + 1}`) ? 'may not' : 'may'
      t.equal(found, verdict, `${file} ${verdict} import ${specifier}`)
    }
  }
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
  for (const config of ['biome.json', 'biome.ladder.json', 'biome.exit.grit', '.gitignore']) {
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
