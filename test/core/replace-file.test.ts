import { execFileSync } from 'node:child_process'
import { lstat, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { replaceFile } from '../../lib/core/replace-file.js'

const MODULE = new URL('../../lib/core/replace-file.js', import.meta.url).href

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

t.test(
  'nothing is written through a link that somebody has put where the draft goes',
  async (t) => {
    const folder = t.testdir({ 'kept.json': 'old', elsewhere: 'theirs' })
    await symlink(join(folder, 'elsewhere'), join(folder, 'kept.json.new'))
    await replaceFile(join(folder, 'kept.json'), 'new')
    t.equal(await readFile(join(folder, 'elsewhere'), 'utf8'), 'theirs')
    t.ok((await lstat(join(folder, 'kept.json'))).isFile())
    t.equal(await readFile(join(folder, 'kept.json'), 'utf8'), 'new')
  }
)

t.test(
  'on a full disk no draft is left',
  { skip: process.platform === 'win32' && 'there is no ulimit' },
  async (t) => {
    const folder = t.testdir({ 'kept.json': 'old' })
    const script = `import { replaceFile } from ${JSON.stringify(MODULE)}
      await replaceFile(process.argv[1], 'new').catch(({ code }) => console.log(code))`
    const node = [process.execPath, '--input-type=module', '--eval', script]
    const line = ['-c', 'ulimit -f 0; exec env -u NODE_OPTIONS "$@"', '-', ...node]
    const said = execFileSync('sh', [...line, join(folder, 'kept.json')], { encoding: 'utf8' })
    t.equal(said, 'EFBIG\n')
    t.equal(await readFile(join(folder, 'kept.json'), 'utf8'), 'old')
    t.same(await readdir(folder), ['kept.json'])
  }
)
