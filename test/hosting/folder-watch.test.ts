import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FolderWatch } from '../../lib/hosting/folder-watch.js'

t.test('a change in a folder, or in a new folder below it, is told once', async (t) => {
  const { folder, watch } = await aWatch(t)
  for (const path of ['server.js', 'lib/one.js', 'lib/deep/two.js', 'server.js']) {
    await watch.mark()
    const changed = watch.changed()
    await mkdir(join(folder, path, '..'), { recursive: true })
    await writeFile(join(folder, path), `changed ${path} ${Math.random()}`)
    t.equal(await changed, true, path)
  }
})

t.test('what changed before anybody asked is told as well', async (t) => {
  const { folder, watch } = await aWatch(t)
  await watch.mark()
  await new Promise(setImmediate)
  await writeFile(join(folder, 'more.js'), 'more')
  await writeFile(join(folder, 'server.js'), 'a longer text than before')
  t.equal(await watch.changed(), true)
})

t.test('what a bundle leaves out is no change, and a closed watch ends', async (t) => {
  const { folder, watch } = await aWatch(t)
  await watch.mark()
  const changed = watch.changed()
  await writeFile(join(folder, 'out.log'), 'ignored')
  await writeFile(join(folder, '.env'), 'SECRET=1')
  // It is not told of these even after the time in which it would be.
  await new Promise((resolve) => setTimeout(resolve, 100))
  watch.close()
  t.equal(await changed, false)
})

async function aWatch(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'seaport-watch-'))
  await writeFile(join(folder, 'server.js'), 'first')
  await writeFile(join(folder, '.seaportignore'), '*.log\n')
  const watch = new FolderWatch(folder, { quiet: 20 })
  t.teardown(async () => {
    watch.close()
    await rm(folder, { recursive: true, force: true })
  })
  return { folder, watch }
}
