import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KeyPair, randomSeed, toHex } from '../../../lib/core/keys.js'
import {
  keepProcessKey,
  nextServiceKey,
  type ServiceIdentity,
  takeServiceKey
} from '../../../lib/registry/log/own-keys.js'

const REGISTRY = KeyPair().publicKey
const BACKEND = '127.0.0.1:80'

/** A folder, and the service keys that are taken in it. What is still held at the test's end is released. */
async function folder(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-keys-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const take = async (version: string, other: Partial<ServiceIdentity> = {}) => {
    const identity = { role: 'a', version, backend: BACKEND, ...other }
    const { keyPair, release } = await takeServiceKey(REGISTRY, identity, dir)
    t.teardown(release)
    return { key: toHex(keyPair.publicKey), release }
  }
  return { dir, take }
}

/** Writes a key as builds did that kept one per version, and returns its public key. */
async function writeVersionedKey(dir: string, version: string): Promise<string> {
  const seed = randomSeed()
  const name = createHash('sha256').update(`a@${version} ${BACKEND}`).digest('hex').slice(0, 32)
  await mkdir(join(dir, 'keys'), { recursive: true })
  await writeFile(join(dir, 'keys', name), `${toHex(seed)}\n`)
  return toHex(KeyPair(seed).publicKey)
}

t.test('a key is kept by folder, role, backend and slot, and not by version', async (t) => {
  const { take } = await folder(t)
  const first = await take('1.0.0')
  first.release()
  const upgraded = await take('1.0.1')
  t.equal(upgraded.key, first.key)
  const others = [
    await take('1.0.0', { role: 'b' }),
    await take('1.0.0', { backend: '127.0.0.1:81' }),
    await take('1.0.0', { name: 'blue' }),
    await (await folder(t)).take('1.0.0')
  ]
  const keys = others.map(({ key }) => key)
  t.equal(new Set([first.key, ...keys]).size, 5)
})

t.test('whoever comes takes the first slot that nobody holds', async (t) => {
  const { take } = await folder(t)
  const started = []
  // One after the other, so that the first has the first slot.
  for (let i = 0; i < 3; i++) started.push(await take('1.0.0'))
  t.equal(new Set(started.map(({ key }) => key)).size, 3)
  started[1]?.release()
  t.equal((await take('1.0.0')).key, started[1]?.key)
  started[0]?.release()
  t.equal((await take('1.0.2', { name: '1' })).key, started[0]?.key, 'a number is a name')
})

t.test(
  'two versions that overlap on one port need a name, and what has no port does not',
  async (t) => {
    const { dir, take } = await folder(t)
    const first = await take('1.0.0')
    await t.rejects(take('1.0.1'), { code: 'KEY_IN_USE', message: /a@1\.0\.0 on 127.*--name/ })
    t.not((await take('1.0.1', { name: 'next' })).key, first.key)
    t.not((await take('1.0.1', { backend: '127.0.0.1:81' })).key, first.key)
    await take('1.0.0', { backend: 'in process' })
    await take('1.0.1', { backend: 'in process' })

    const identity = { role: 'a', version: '1.0.1', backend: BACKEND }
    const { next, held } = await nextServiceKey(REGISTRY, identity, dir)
    t.equal(toHex(next.publicKey), first.key, 'the key after an upgrade')
    t.same(held, [])
    first.release()
    t.equal((await take('1.0.1')).key, first.key)
  }
)

t.test('a name is held by one at a time, and has rules', async (t) => {
  const { take } = await folder(t)
  const blue = await take('1.0.0', { name: 'blue' })
  await t.rejects(take('1.0.1', { name: 'blue' }), { code: 'KEY_IN_USE', message: /blue/ })
  blue.release()
  t.equal((await take('1.0.1', { name: 'blue' })).key, blue.key)
  for (const name of ['', 'a b', 'a/b', 'x'.repeat(65)]) {
    await t.rejects(take('1.0.0', { name }), { code: 'USAGE' }, name)
  }
})

t.test('a key that was kept for a version goes on as the key of the slot', async (t) => {
  const { dir, take } = await folder(t)
  const old = await writeVersionedKey(dir, '1.0.0')
  const other = await writeVersionedKey(dir, '2.0.0')
  const first = await take('1.0.0')
  t.equal(first.key, old)
  t.equal((await take('2.0.0', { name: 'next' })).key, other, 'two versions at once have names')
  first.release()
  const upgraded = await take('1.0.1')
  t.equal(upgraded.key, old)
  t.not((await take('1.0.1')).key, old, 'it has become the key of one slot only')
})

t.test('a versioned key does not take the place of the key that the slot has', async (t) => {
  const { dir, take } = await folder(t)
  const first = await take('1.0.1')
  first.release()
  const old = await writeVersionedKey(dir, '1.0.0')
  const second = await take('1.0.0')
  t.equal(second.key, first.key)
  t.equal((await take('1.0.0')).key, old, 'the next slot has none yet')
})

t.test(
  'the key that comes next is shown without being held, and so are those before',
  async (t) => {
    const { dir, take } = await folder(t)
    const identity = { role: 'a', version: '1.0.0', backend: BACKEND }
    const next = await nextServiceKey(REGISTRY, identity, dir)
    t.same(next.held, [])
    const first = await take('1.0.0')
    t.equal(first.key, toHex(next.next.publicKey))
    const after = await nextServiceKey(REGISTRY, identity, dir)
    t.same(after.held, [next.next])
    t.equal((await take('1.0.0')).key, toHex(after.next.publicKey))
    const named = await nextServiceKey(REGISTRY, { ...identity, name: '1' }, dir)
    t.same(named, { next: next.next, held: [] }, 'a public key is shown whoever holds it')
  }
)

t.test('keys are made once, and are for their user alone', async (t) => {
  const { dir, take } = await folder(t)
  const home = join(dir, 'home')
  const keys = await Promise.all([keepProcessKey(REGISTRY, home), keepProcessKey(REGISTRY, home)])
  t.strictSame(keys[0], keys[1])
  t.strictSame(await keepProcessKey(REGISTRY, home), keys[0])
  await take('1.0.0')
  for (const folder of [join(home, 'keys'), join(dir, 'keys')]) {
    t.equal((await stat(folder)).mode & 0o777, 0o700)
    const files = await readdir(folder)
    t.ok(files.length > 0)
    for (const file of files) {
      t.equal((await stat(join(folder, file))).mode & 0o777, 0o600, file)
    }
  }
})

t.test('a folder that takes no keys is refused with a code', async (t) => {
  const { dir } = await folder(t)
  await writeFile(join(dir, 'file'), '')
  const identity = { role: 'a', version: '1.0.0', backend: BACKEND }
  const refusal = { code: 'STORAGE_FAILED', message: /--dir/ }
  await t.rejects(takeServiceKey(REGISTRY, identity, join(dir, 'file')), refusal)
  await t.rejects(keepProcessKey(REGISTRY, join(dir, 'file')), refusal)
})

t.test('a key that a power cut kept from the disk is made anew', async (t) => {
  const { dir, take } = await folder(t)
  const { key, release } = await take('1.0.0')
  release()
  await keepProcessKey(REGISTRY, dir)
  for (const file of await keyFiles(dir)) await writeFile(file, '')
  const next = await take('1.0.0')
  t.not(next.key, key)
  next.release()
  t.equal((await take('1.0.0')).key, next.key)
  const process = await keepProcessKey(REGISTRY, dir)
  t.strictSame(await keepProcessKey(REGISTRY, dir), process)
})

t.test('a damaged key is not replaced, and the error says which file it is', async (t) => {
  const { dir, take } = await folder(t)
  ;(await take('1.0.0')).release()
  await keepProcessKey(REGISTRY, dir)
  const files = await keyFiles(dir)
  t.equal(files.length, 2)
  for (const file of files) await writeFile(file, 'half a k')
  for (const attempt of [() => take('1.0.0'), () => keepProcessKey(REGISTRY, dir)]) {
    const error = await attempt().then(
      () => null,
      (error: Error) => error
    )
    t.match(error, { code: 'STORAGE_FAILED', message: /is damaged/ })
    t.ok(files.some((file) => error?.message.includes(file)))
  }
})

async function keyFiles(dir: string): Promise<string[]> {
  const names = await readdir(join(dir, 'keys'))
  return names.filter((name) => !name.includes('.')).map((name) => join(dir, 'keys', name))
}

/** Asks for the key of a service that is started next, again and again. */
const ASKER = `
const [module, registry, dir, times] = process.argv.slice(1)
const { nextServiceKey } = await import(module)
const identity = { role: 'a', version: '1.0.0', backend: '${BACKEND}' }
for (let i = 0; i < Number(times); i++) {
  await nextServiceKey(Buffer.from(registry, 'hex'), identity, dir)
}
`
const QUESTIONS = '300'

t.test('a service that starts while its key is asked for has that key', async (t) => {
  const { dir, take } = await folder(t)
  const first = await take('1.0.0')
  first.release()
  const module = new URL('../../../lib/registry/log/own-keys.js', import.meta.url).href
  const args = ['--input-type=module', '-e', ASKER, module, toHex(REGISTRY), dir, QUESTIONS]
  const asking = execFile(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '' } })
  const ended = once(asking, 'exit')
  const keys = new Set<string>()
  while (asking.exitCode === null) {
    const { key, release } = await take('1.0.0')
    release()
    keys.add(key)
    await setImmediate()
  }
  t.same(await ended, [0, null])
  t.same([...keys], [first.key])
})
