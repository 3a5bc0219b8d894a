import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const HOUSE = resolve(import.meta.dirname, '../../..')
const TYPES = join(HOUSE, 'node_modules/@types')
const TSC = join(HOUSE, 'node_modules/typescript/bin/tsc')
const PAPERS = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'hyperseaport.app.schema.json',
  'package.json'
]
const SHRINKWRAP = 'npm-shrinkwrap.json'

/** The pair in the first README. */
const SEED = 'c84c7034a0309479299d81468b7bc59592a96b3a919fd1ff159aea1879407382'
const PUBLIC_KEY = '5b64a8956d8f2404c4f4b4e6f402ef439f610f7fe297718093641359130b0d45'
const PRINT_KEY = `console.log(KeyPair('${SEED}').publicKey.toString('hex'))\n`

/** Compiled only, except for its first line: the types are what is tested. */
const TYPED_PROGRAM = `
import { Consumer, type ConsumerEntry, type Instance, KeyPair } from 'hyperseaport'
import { Registry, SeaportError, Service } from 'hyperseaport'
import type { Duplex } from 'node:stream'

${PRINT_KEY}
export async function main(bootstrap: string): Promise<number> {
  const registry: Registry = Registry({ seed: '${SEED}', bootstrap, dir: 'registry' })
  await registry.setup()
  const { registryPublicKey } = registry
  const service: Service = new Service({
    registryPublicKey, role: 'helloworld@1.0.0', port: 8992, keyPair: KeyPair(), bootstrap
  })
  await service.setup()
  const consumer: Consumer = Consumer(['helloworld@1.x'], { registryPublicKey, bootstrap })
  try {
    const [helloworld]: readonly ConsumerEntry[] = await consumer.setup()
    if (!helloworld) return 0
    const instances: readonly Instance[] = helloworld.instances()
    const stream: Duplex = await helloworld.connect()
    stream.end(helloworld.url)
    // @ts-expect-error: had the types been lost, anything would do
    helloworld.instances().sing()
    return instances.length
  } catch (error) {
    if (error instanceof SeaportError) console.error(error.code.toLowerCase())
    throw error
  } finally {
    await Promise.all([consumer.destroy(), service.destroy(), registry.destroy()])
  }
}
`
const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: false,
    skipLibCheck: false,
    typeRoots: [TYPES],
    types: ['node'],
    outDir: 'out'
  },
  include: ['program.mts', 'program.cts']
}

t.test('what is packed holds what users need, and works as they use it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-pack-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const { files, tarball } = await pack(folder)
  const app = join(folder, 'app')
  await mkdir(app)
  await writeFile(join(app, 'package.json'), '{ "private": true }')
  await run(app, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball)

  await t.test('it holds the code, its types, four papers and what pins them', async (t) => {
    t.same(files.filter((file) => !file.startsWith('dist/')).sort(), [...PAPERS, SHRINKWRAP].sort())
    const code = files.filter((file) => file.startsWith('dist/'))
    for (const needed of ['bin/hyperseaport.js', 'lib/index.js', 'lib/index.d.ts']) {
      t.ok(code.includes(`dist/${needed}`), needed)
    }
    const foreign = code.filter(
      (file) => !/^dist\/(bin|lib)\/.*\.js$|^dist\/lib\/.*\.d\.ts$/.test(file)
    )
    t.same(foreign, [])
  })

  await t.test('it is imported', async (t) => {
    await writeFile(join(app, 'a.mjs'), `import { KeyPair } from 'hyperseaport'\n${PRINT_KEY}`)
    t.equal(await run(app, 'node', 'a.mjs'), `${PUBLIC_KEY}\n`)
  })

  await t.test('it is required', async (t) => {
    const source = `const { KeyPair } = require('hyperseaport')\n${PRINT_KEY}`
    await writeFile(join(app, 'a.cjs'), source)
    t.equal(await run(app, 'node', 'a.cjs'), `${PUBLIC_KEY}\n`)
  })

  await t.test('strict programs compile against its types, as both kinds of module', async (t) => {
    await writeFile(join(app, 'tsconfig.json'), JSON.stringify(TSCONFIG))
    for (const kind of ['mts', 'cts']) await writeFile(join(app, `program.${kind}`), TYPED_PROGRAM)
    t.equal(await run(app, 'node', TSC), '')
    t.equal(await run(app, 'node', 'out/program.mjs'), `${PUBLIC_KEY}\n`)
    t.equal(await run(app, 'node', 'out/program.cjs'), `${PUBLIC_KEY}\n`)
  })

  await t.test('installed globally, it has the dependencies that were tested', async (t) => {
    const prefix = join(folder, 'global')
    const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund']
    await run(folder, 'npm', 'install', '-g', '--prefix', prefix, ...flags, tarball)
    const root = join(prefix, 'lib/node_modules/hyperseaport')
    const lock = JSON.parse(await readFile(join(HOUSE, 'package-lock.json'), 'utf8'))
    for (const [path, { dev, version }] of Object.entries<LockEntry>(lock.packages)) {
      const file = join(root, path, 'package.json')
      if (dev && path.lastIndexOf('node_modules/') === 0) t.notOk(existsSync(file), `no ${path}`)
      else if (!dev) t.equal(JSON.parse(await readFile(file, 'utf8')).version, version, path)
    }
    t.match(await run(folder, join(prefix, 'bin/hyperseaport'), 'seed'), /^registrySeed=/)
  })

  await t.test('what pins them is gone from the clone afterwards', async (t) => {
    const house = join(folder, 'house')
    await run(house, 'node', 'release/pin.mjs', '--undo')
    t.notOk(existsSync(join(house, SHRINKWRAP)))
    const [packed, own] = await Promise.all(
      [house, HOUSE].map((root) => readFile(join(root, 'package.json'), 'utf8'))
    )
    t.equal(packed, own)
  })

  await t.test('its binary runs', async (t) => {
    const printed = await run(app, 'npx', '--no-install', 'hyperseaport', 'seed')
    t.match(printed, /^registrySeed=[0-9a-f]{64}\nregistryPublicKey=[0-9a-f]{64}\n$/)
  })
})

interface LockEntry {
  dev?: boolean
  version: string
}

/** Packs what `npm publish` would, in a folder of its own: `prepack` would clear the tests away. */
async function pack(folder: string): Promise<{ files: string[]; tarball: string }> {
  const house = join(folder, 'house')
  await mkdir(house)
  for (const paper of [...PAPERS, 'package-lock.json', 'release']) {
    await cp(join(HOUSE, paper), join(house, paper), { recursive: true })
  }
  await run(HOUSE, 'node', TSC, '-p', 'tsconfig.release.json', '--outDir', join(house, 'dist'))
  await run(house, 'node', 'release/pin.mjs')
  const report = await run(house, 'npm', 'pack', '--ignore-scripts', '--json')
  const [{ filename, files }] = JSON.parse(report)
  return {
    files: files.map(({ path }: { path: string }) => path),
    tarball: join(house, filename)
  }
}

/** Runs a program, and returns its stdout; fails with all that it printed. */
async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { cwd })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  }
}
