import { existsSync } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { EntryTable } from '../../../lib/hosting/bundle/entry-table.js'
import { staysInside } from '../../../lib/hosting/bundle/link-target.js'
import { seal, unpack } from '../../../lib/hosting/bundle/unpack.js'
import { aFolder, END, fill, read, tarEntry } from './folders.js'

t.test('files, folders and links are unpacked, with plain modes, and can be sealed', async (t) => {
  const root = await aFolder(t)
  const folder = join(root, 'app')
  await unpack(
    [
      tarEntry({ name: 'bin/run', mode: 0o700, content: '#!/bin/sh' }),
      tarEntry({ name: 'empty/', type: '5' }),
      tarEntry({ name: 'bin/again', type: '2', link: '../bin/run' }),
      tarEntry({ name: 'large', content: 'x'.repeat(300_000) }),
      END
    ],
    folder
  )
  t.same(await read(folder), {
    'bin/again': { link: '../bin/run' },
    'bin/run*': '#!/bin/sh',
    empty: null,
    large: 'x'.repeat(300_000)
  })
  t.equal((await stat(join(folder, 'bin/run'))).mode & 0o777, 0o755)
  await seal(folder)
  for (const [name, mode] of Object.entries({
    'bin/run': 0o555,
    large: 0o444,
    bin: 0o555,
    '': 0o555
  })) {
    t.equal((await stat(join(folder, name))).mode & 0o777, mode, name)
  }
})

t.test('what breaks the rules of bundles is refused, and nothing of it stays', async (t) => {
  const hostile: [what: string, entries: Buffer[], said: RegExp][] = [
    ['an absolute path', [tarEntry({ name: '/etc/evil' })], /does not stay/],
    ['two dots', [tarEntry({ name: '../evil' })], /does not stay/],
    ['two dots within', [tarEntry({ name: 'a/../../evil' })], /does not stay/],
    ['a dot', [tarEntry({ name: './a' })], /does not stay/],
    ['an empty name', [tarEntry({ name: '' })], /does not stay/],
    ['two slashes', [tarEntry({ name: 'a//b' })], /does not stay/],
    ['a link to /etc', [tarEntry({ type: '2', link: '/etc' })], /leads out/],
    ['a link upwards', [tarEntry({ name: 'a/b', type: '2', link: '../../c' })], /leads out/],
    [
      'a link up after a name',
      [tarEntry({ name: 'a/b', type: '2', link: 'c/../..' })],
      /leads out/
    ],
    ['a link to nowhere', [tarEntry({ type: '2', link: '' })], /leads out/],
    ['a hard link', [tarEntry({ type: '1', link: 'b' })], /is a link/],
    ['a character device', [tarEntry({ type: '3' })], /is a character-device/],
    ['a block device', [tarEntry({ type: '4' })], /is a block-device/],
    ['a fifo', [tarEntry({ type: '6' })], /is a fifo/],
    ['a sparse file', [tarEntry({ type: 'S' })], /unknown kind/],
    ['setuid', [tarEntry({ mode: 0o4755 })], /somebody else/],
    ['setgid', [tarEntry({ mode: 0o2755 })], /somebody else/],
    ['sticky', [tarEntry({ name: 'a/', type: '5', mode: 0o1777 })], /somebody else/],
    ['one name twice', [tarEntry({}), tarEntry({})], /there twice/],
    ['names that differ by case', [tarEntry({}), tarEntry({ name: 'A' })], /nothing but case/],
    [
      'folders that differ by case',
      [tarEntry({ name: 'a/b' }), tarEntry({ name: 'A/c' })],
      /nothing but case/
    ],
    [
      'names that differ by how they are composed',
      [tarEntry({ name: 'caf\u00e9' }), tarEntry({ name: 'cafe\u0301' })],
      /nothing but case/
    ],
    [
      'a file through a link',
      [tarEntry({ name: 'a', type: '2', link: 'b' }), tarEntry({ name: 'a/c' })],
      /there twice/
    ],
    [
      'a file in a file',
      [tarEntry({ name: 'a', content: 'x' }), tarEntry({ name: 'a/c' })],
      /there twice/
    ],
    ['a long name', [tarEntry({ name: 'x', type: '0' }), paxPath('y'.repeat(256))], /too long/],
    ['a long path', [paxPath('y/'.repeat(1100))], /too long/],
    ['a name that is not UTF-8', [paxPath('\ufffd')], /no name of a file/],
    ['a broken header', [Buffer.from('x'.repeat(512))], /no archive/],
    ['a content that is too short', [tarEntry({ content: 'x', size: 5000 })], /no archive/],
    ['a huge header', [tarEntry({ type: 'x', size: 2 ** 30 })], /no archive/],
    ['a file of 8 GB', [tarEntry({ size: 8 * 2 ** 30 - 1 })], /have more than/]
  ]
  for (const [what, entries, said] of hostile) {
    const root = await aFolder(t)
    const folder = join(root, 'inner', 'app')
    await mkdir(join(root, 'inner'))
    await t.rejects(unpack(each(entries), folder), { code: 'BAD_BUNDLE', message: said }, what)
    t.same(await readdir(root, { recursive: true }), ['inner'], `${what}: nothing is left`)
  }
})

t.test('a million entries are refused early, and so are the bytes of a bomb', async (t) => {
  const root = await aFolder(t)
  let made = 0
  async function* entries() {
    // Several at a time, since each piece takes a turn of its own.
    for (; made < 1_000_000; made += 1000) {
      const names = Array.from({ length: 1000 }, (_, i) => `link-${made + i}`)
      yield Buffer.concat(names.map((name) => tarEntry({ name, type: '2', link: 'a' })))
    }
  }
  await t.rejects(unpack(entries(), join(root, 'app')), {
    code: 'BAD_BUNDLE',
    message: /more than 100000 entries/
  })
  t.ok(made < 110_000, 'no more is asked for than is taken')
  t.same(await readdir(root), [])
  t.throws(() => new EntryTable(10).add({ ...aHeader('a'), size: 11 }), { code: 'BAD_BUNDLE' })
  t.throws(() => new EntryTable(10).add({ ...aHeader('a'), size: Number.NaN }), {
    code: 'BAD_BUNDLE'
  })
})

t.test('a source that fails fails the whole, and nothing stays', async (t) => {
  const root = await aFolder(t)
  async function* source() {
    yield tarEntry({ name: 'a', content: 'x' })
    throw new Error('the line is cut')
  }
  await t.rejects(unpack(source(), join(root, 'app')), { message: /the line is cut/ })
  t.same(await readdir(root), [])
})

t.test('no more is unpacked than there is room for, and nothing of it stays', async (t) => {
  const large = Array.from({ length: 20 }, (_, i) =>
    tarEntry({ name: `large-${i}`, content: 'x'.repeat(500_000) })
  )
  const small = Array.from({ length: 1000 }, (_, i) =>
    tarEntry({ name: `small-${i}`, content: 'x' })
  )
  for (const entries of [large, small]) {
    const root = await aFolder(t)
    const room = 2_000_000
    let most = 0
    const checkRoom = async (bytes: number) => {
      const taken = await blocksOf(root)
      most = Math.max(most, taken)
      if (taken + bytes > room) throw SeaportError.DISK_FULL('there is no room')
    }
    await t.rejects(unpack(each(entries), join(root, 'app'), checkRoom), { code: 'DISK_FULL' })
    t.same(await readdir(root), [])
    t.ok(most > room / 2 && most <= room, `${most} bytes were taken`)
  }
})

t.test('all of it is on the disk before it is there', async (t) => {
  const root = await aFolder(t)
  const folder = join(root, 'app')
  const log = join(root, 'log')
  const { PATH } = process.env
  t.teardown(() => Object.assign(process.env, { PATH }))
  const entries = ['a', 'b/c'].map((name) => tarEntry({ name, content: 'x' }))
  await fill(root, { 'bin/sync': `#!/bin/sh\n[ ! -e '${folder}' ] && echo "$*" > '${log}'` })
  await chmod(join(root, 'bin/sync'), 0o755)
  process.env.PATH = `${join(root, 'bin')}:${PATH}`
  await unpack(each(entries), folder)
  t.match(await readFile(log, 'utf8'), `-f ${folder}.`, 'the system is asked to write it')

  const file = await open(log)
  const prototype = Object.getPrototypeOf(file)
  await file.close()
  const { sync } = prototype
  t.teardown(() => Object.assign(prototype, { sync }))
  const synced: boolean[] = []
  prototype.sync = function () {
    synced.push(existsSync(`${folder}-2`))
    return sync.call(this)
  }
  process.env.PATH = join(root, 'none')
  await unpack(each(entries), `${folder}-2`)
  t.same(synced, [false, false, false, false], 'or else each file and folder is written')
})

t.test('a folder that is there already is not touched', async (t) => {
  const root = await aFolder(t)
  await fill(root, { 'app/mine': 'kept' })
  await t.rejects(unpack(each([tarEntry({ content: 'x' })]), join(root, 'app')), {
    code: 'STORAGE_FAILED'
  })
  t.same(await read(root), { 'app/mine': 'kept' })
})

t.test('a link stays inside if it goes up by leading dots, no further than the root', async (t) => {
  for (const [path, target] of [
    ['a', 'b'],
    ['a', './b/c'],
    ['a/b', '../c'],
    ['a/b/c', '../..'],
    ['a/b', '..']
  ] as const) {
    t.ok(staysInside(path, target), JSON.stringify([path, target]))
  }
  for (const [path, target] of [
    ['a', '..'],
    ['a/b', '../..'],
    ['a/b', 'c/..'],
    ['a', '/'],
    ['a', ''],
    ['a', 'b\0']
  ] as const) {
    t.notOk(staysInside(path, target), JSON.stringify([path, target]))
  }
})

/** The bytes that files take on a disk that gives each whole blocks. */
async function blocksOf(root: string): Promise<number> {
  const sizes = (await readdir(root, { recursive: true })).map((name) => stat(join(root, name)))
  return (await Promise.all(sizes)).reduce(
    (sum, { size }) => sum + Math.ceil(size / 4096) * 4096,
    0
  )
}

async function* each(entries: Buffer[]) {
  yield* [...entries, END]
}

/** An entry that has its path in a header of its own, which may be long. */
function paxPath(path: string): Buffer {
  const text = ` path=${path}\n`
  let length = Buffer.byteLength(text)
  while (`${length}`.length + Buffer.byteLength(text) !== length) length++
  return Buffer.concat([
    tarEntry({ name: 'PaxHeader', type: 'x', content: length + text }),
    tarEntry({})
  ])
}

function aHeader(name: string) {
  return { name, type: 'file', mode: 0o644, size: 0, linkname: null }
}
