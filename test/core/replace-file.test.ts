import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { replaceFile } from '../../lib/core/replace-file.js'

t.test('a file is replaced as a whole, is private, and leaves no draft', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'kept.json')
  await writeFile(file, 'an older and longer text', { mode: 0o644 })
  await replaceFile(file, 'new')
  t.equal(await readFile(file, 'utf8'), 'new')
  t.equal((await stat(file)).mode & 0o777, 0o600)
  t.same(await readdir(folder), ['kept.json'])
})

t.test('where it cannot be written the old content stays', async (t) => {
  const file = join(t.testdir({ 'kept.json': 'old', 'kept.json.new': {} }), 'kept.json')
  await t.rejects(replaceFile(file, 'new'))
  t.equal(await readFile(file, 'utf8'), 'old')
})
