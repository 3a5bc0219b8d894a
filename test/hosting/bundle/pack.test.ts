import { rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ChunkEntry, sizeOf } from '../../../lib/hosting/bundle/chunk.js'
import { ChunkStore } from '../../../lib/hosting/bundle/chunk-store.js'
import { packFolder } from '../../../lib/hosting/bundle/pack.js'
import { PackMemory } from '../../../lib/hosting/bundle/pack-memory.js'
import { unpack } from '../../../lib/hosting/bundle/unpack.js'
import { randomFrom } from '../../random.js'
import { aFolder, fill, read } from './folders.js'

const PEM = '-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n'

t.test('a folder is unpacked as it was packed', async (t) => {
  const { root, store } = await aPlace(t)
  const long = `${'long-'.repeat(40)}/${'name-'.repeat(40)}.js`
  const files = {
    'server.js': 'serve()',
    'bin/run*': '#!/bin/sh',
    'empty/folder': null,
    'lib/again': { link: '../server.js' },
    'caf\u00e9 \u{1f355}.txt': 'pizza',
    'nothing.txt': '',
    [long]: 'deep',
    'large.bin': 'x'.repeat(3_000_000)
  }
  await fill(root, files)
  const bundle = await packFolder(root, { store })
  t.same(bundle.leftOut, [])
  t.equal(bundle.files, 8)
  t.equal(bundle.size, 3_000_000 + 7 + 9 + 5 + 4)
  const folder = join(await aFolder(t), 'app')
  const chunks = await store.list(bundle.list)
  t.same(chunks, bundle.chunks)
  await unpack(store.bytesOf(chunks as ChunkEntry[]), folder)
  t.same(await read(folder), files)
})

t.test(
  'the same files make the same bundle, whatever their times and their order on the disk',
  async (t) => {
    const names = Array.from({ length: 50 }, (_, i) => `file-${i}.txt`)
    const lists = []
    for (const order of [names, [...names].reverse()]) {
      const { root, store } = await aPlace(t)
      for (const name of order) await fill(root, { [`sub/${name}`]: name })
      await utimes(join(root, 'sub', 'file-1.txt'), order === names ? 1 : 1e9, 1e9)
      lists.push((await packFolder(root, { store })).list)
    }
    t.equal(lists[0], lists[1])
  }
)

t.test(
  'secrets, histories, links that lead out and what is ignored are left out, and listed',
  async (t) => {
    const { root, store } = await aPlace(t)
    await fill(root, {
      '.gitignore': 'dist/\n*.log\n!keep.log\n',
      'server.js': '',
      'a.log': '',
      'keep.log': '',
      'dist/built.js': '',
      'sub/.gitignore': '/local\n!b.log',
      'sub/local': '',
      'sub/b.log': '',
      'sub/c.log': '',
      '.git/config': '',
      '.env': '',
      'sub/.env.production': '',
      '.hyperseaportrc': 'registrySeed=1',
      id_ed25519: '',
      'tls.key': '',
      'notes.txt': `mine\n${PEM}`,
      out: { link: '/etc/passwd' },
      up: { link: '../up' },
      inside: { link: 'sub/b.log' }
    })
    const { leftOut } = await packFolder(root, { store })
    t.same(Object.fromEntries(leftOut.map(({ path, why }) => [path, why])), {
      '.env': 'it may hold secrets',
      '.git': 'it is never part of a bundle',
      '.hyperseaportrc': 'it is never part of a bundle',
      'a.log': 'an ignore file names it',
      dist: 'an ignore file names it',
      id_ed25519: 'it may be a private key',
      'notes.txt': 'it holds a private key',
      out: 'it is a link that may lead out',
      'sub/.env.production': 'it may hold secrets',
      'sub/c.log': 'an ignore file names it',
      'sub/local': 'an ignore file names it',
      'tls.key': 'it may be a private key',
      up: 'it is a link that may lead out'
    })
    t.same(Object.keys(await unpacked(t, root)).sort(), [
      '.gitignore',
      'inside',
      'keep.log',
      'server.js',
      'sub/.gitignore',
      'sub/b.log'
    ])
  }
)

t.test('.seaportignore takes the place of .gitignore, and cannot let secrets in', async (t) => {
  const { root } = await aPlace(t)
  await fill(root, {
    '.gitignore': 'dist',
    '.seaportignore': 'src\n!.env\n',
    'dist/built.js': '',
    'src/source.ts': '',
    '.env': 'SECRET=1'
  })
  t.same(Object.keys(await unpacked(t, root)).sort(), [
    '.gitignore',
    '.seaportignore',
    'dist/built.js'
  ])
})

t.test('a bundle with native programs names their platforms', async (t) => {
  const elf = Buffer.alloc(64)
  elf.write('\x7fELF\x02\x01\x01', 'latin1')
  elf.writeUInt16LE(3, 16)
  elf.writeUInt16LE(62, 18)
  const mach = Buffer.alloc(64)
  mach.writeUInt32BE(0xcffaedfe)
  mach.writeUInt32LE(16777228, 4)
  const fat = Buffer.alloc(64)
  fat.writeUInt32BE(0xcafebabe)
  fat.writeUInt32BE(2, 4)
  fat.writeUInt32BE(16777223, 8)
  fat.writeUInt32BE(16777228, 28)
  const java = Buffer.alloc(64)
  java.writeUInt32BE(0xcafebabe)
  java.writeUInt32BE(61, 4)
  const cases: [files: Record<string, Buffer | string>, platforms: string[] | null][] = [
    [{ 'a.js': 'text', 'A.class': java }, null],
    [{ 'build/a.node': elf }, ['linux-x64']],
    [{ 'build/a.node': mach }, ['darwin-arm64']],
    [{ 'build/a.node': fat }, ['darwin-arm64', 'darwin-x64']],
    [
      { 'm/prebuilds/linux-x64/a.node': elf, 'm/prebuilds/darwin-x64+arm64/a.node': fat },
      ['darwin-arm64', 'darwin-x64', 'linux-x64']
    ],
    [{ 'm/prebuilds/darwin-arm64/a.node': mach, 'build/a.node': elf }, ['linux-x64']]
  ]
  for (const [files, platforms] of cases) {
    const { root, store } = await aPlace(t)
    await fill(root, files)
    t.same((await packFolder(root, { store })).platforms, platforms, Object.keys(files).join())
  }
})

t.test('one file that changes, comes or goes changes few chunks', async (t) => {
  const { root, store } = await aPlace(t)
  const random = randomFrom(1)
  const text = () => String(random()).repeat(100 + Math.floor(random() * 2000))
  const names = Array.from({ length: 200 }, (_, i) => `folder-${i % 20}/file-${i}.js`)
  await fill(root, Object.fromEntries(names.map((name) => [name, text()])))
  await fill(root, { 'folder-3/large.bin': Buffer.alloc(3_000_000, 1) })
  const before = await packFolder(root, { store })
  const share = (bundle: { chunks: ChunkEntry[] }) => {
    const known = new Set(before.chunks.map(({ hash }) => hash))
    return sizeOf(bundle.chunks.filter(({ hash }) => !known.has(hash))) / sizeOf(before.chunks)
  }
  await writeFile(join(root, 'folder-3/file-23.js'), text())
  t.ok(share(await packFolder(root, { store })) < 0.1, 'changed')
  await writeFile(join(root, 'folder-3/file-new.js'), text())
  t.ok(share(await packFolder(root, { store })) < 0.1, 'new')
  await rm(join(root, 'folder-3/file-43.js'))
  t.ok(share(await packFolder(root, { store })) < 0.1, 'gone')
})

t.test('what has not changed is not read again, and what has is', async (t) => {
  const { root, store } = await aPlace(t)
  const files = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`file-${i}`, `text ${i}`]))
  await fill(root, { ...files, 'secret.txt': PEM })
  const path = join(await aFolder(t), 'memory.json')
  const later = () => Date.now() + 10_000
  const pack = async () => packFolder(root, { store, memory: await PackMemory.open(path, later) })
  const first = await pack()
  const memory = await PackMemory.open(path, later)
  let looked = 0
  const { headOf } = memory
  memory.headOf = (entry) => {
    const found = headOf.call(memory, entry)
    if (!found) looked++
    return found
  }
  t.same(await packFolder(root, { store, memory }), first)
  t.equal(looked, 0)
  await writeFile(join(root, 'file-7'), 'other')
  const changed = await pack()
  t.not(changed.list, first.list)
  t.equal(changed.list, (await packFolder(root, { store })).list, 'as without a memory')
  await store.retain([])
  t.same(await pack(), changed, 'chunks that are gone are made again')
  await writeFile(path, '{"version":1,"heads":[],"groups":{"x":[{"hash":1}]}}')
  t.same(await pack(), changed, 'a broken memory is none')
})

t.test('a file that may have changed within a tick of the clock is read again', async (t) => {
  const { root, store } = await aPlace(t)
  await fill(root, { file: 'text' })
  const path = join(await aFolder(t), 'memory.json')
  await packFolder(root, { store, memory: await PackMemory.open(path) })
  const memory = await PackMemory.open(path)
  const { headOf } = memory
  const found: unknown[] = []
  memory.headOf = (entry) => {
    found.push(headOf.call(memory, entry))
    return undefined
  }
  await packFolder(root, { store, memory })
  t.same(found, [undefined])
})

t.test('a folder that is not there, or too large, is refused', async (t) => {
  const { root, store } = await aPlace(t)
  await t.rejects(packFolder(join(root, 'nowhere'), { store }), { code: 'STORAGE_FAILED' })
  await fill(root, { file: '' })
  const { truncate } = await import('node:fs/promises')
  await truncate(join(root, 'file'), 5 * 2 ** 30)
  await t.rejects(packFolder(root, { store }), { code: 'BAD_BUNDLE', message: /seaportignore/ })
})

/** A folder to be packed, and a store for it. */
async function aPlace(t: Test) {
  const [root, chunks] = [await aFolder(t), await aFolder(t)]
  return { root, store: new ChunkStore(chunks, { minFree: 0 }) }
}

/** What the bundle of a folder contains. */
async function unpacked(t: Test, root: string) {
  const store = new ChunkStore(await aFolder(t), { minFree: 0 })
  const { chunks } = await packFolder(root, { store })
  const folder = join(await aFolder(t), 'app')
  await unpack(store.bytesOf(chunks), folder)
  return read(folder)
}
