import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { FORCED, type Rocks, writeChanges } from '../../lib/core/rocks.js'
import { openDatabase } from '../../lib/messaging/database.js'

const KEY = Buffer.from('key')

function folder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'hyperseaport-database-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'database')
}

async function open(t: Test, dir: string, notices: SeaportError[] = []): Promise<Rocks> {
  const rocks = await openDatabase(dir, (notice) => notices.push(notice))
  t.teardown(() => rocks.close())
  return rocks
}

/** A folder with a database, in which one value stands in a table on disk. */
async function filled(t: Test): Promise<string> {
  const dir = folder(t)
  const rocks = await open(t, dir)
  await writeChanges(rocks, [{ key: KEY, value: Buffer.alloc(4096, 'value') }])
  await rocks.compactRange('\0', '\x7f', FORCED)
  await rocks.close()
  return dir
}

const WAYS: Record<string, (path: (name: RegExp) => string) => void> = {
  'a table with a changed byte': (path) => {
    const bytes = readFileSync(path(/\.sst$/))
    bytes.writeUInt8(bytes.readUInt8(100) ^ 0xff, 100)
    writeFileSync(path(/\.sst$/), bytes)
  },
  'a table that is gone': (path) => rmSync(path(/\.sst$/)),
  'an empty list of files': (path) => truncateSync(path(/^MANIFEST/)),
  'an empty CURRENT': (path) => truncateSync(path(/^CURRENT$/)),
  'a folder in place of a file': (path) => {
    const file = path(/^LOCK$/)
    rmSync(file)
    mkdirSync(file)
  }
}

t.test('a database that is damaged is set aside, and an empty one is begun', async (t) => {
  for (const [way, damage] of Object.entries(WAYS)) {
    const dir = await filled(t)
    damage((name) => join(dir, readdirSync(dir).find((one) => name.test(one)) ?? 'none'))
    const notices: SeaportError[] = []
    const rocks = await open(t, dir, notices)
    t.equal(await rocks.get(KEY), null, way)
    const [, aside = ''] = / is kept in (\S+),/.exec(notices[0]?.message ?? '') ?? []
    t.ok(readdirSync(aside).length > 0, 'what it held is kept')
    t.equal(notices.length, 1)
    await writeChanges(rocks, [{ key: KEY, value: KEY }])
    await rocks.close()
    t.same(await (await open(t, dir, notices)).get(KEY), KEY)
    t.equal(notices.length, 1)
  }
})

t.test('a database that is in use, or that may not be read, is left alone', async (t) => {
  const dir = await filled(t)
  const notices: SeaportError[] = []
  await open(t, dir)
  await t.rejects(open(t, dir, notices), { code: 'STORAGE_LOCKED' })
  const file = join(folder(t), '..', 'file')
  writeFileSync(file, '')
  await t.rejects(open(t, join(file, 'inside'), notices), { code: 'ENOTDIR' })
  await t.rejects(open(t, file, notices))
  t.same(notices, [])
})

t.test('a start leaves no log of an earlier one behind', async (t) => {
  const dir = await filled(t)
  for (let i = 0; i < 3; i++) await (await open(t, dir)).close()
  t.same(
    readdirSync(dir).filter((name) => name.startsWith('LOG.old')),
    []
  )
})
