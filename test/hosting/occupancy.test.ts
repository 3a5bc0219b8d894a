import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { HostFolder } from '../../lib/hosting/host-folder.js'
import { type Occupancy, occupancyOf, writeOccupancy } from '../../lib/hosting/occupancy.js'
import { skipWithoutLimits, withFewFiles } from '../few-files.js'
import { aFolder } from './bundle/folders.js'

const OCCUPANCY: Occupancy = { app: 'hello', slot: 0, hash: 'ab'.repeat(32), createdAt: 1 }

t.test('what is noted already is not written again, as a full disk may have no room', async (t) => {
  const folder = await aFolder(t)
  await writeOccupancy(folder, OCCUPANCY)
  t.same(await occupancyOf(folder), OCCUPANCY)
  // Where the draft of the file would be, there is something else.
  await mkdir(join(folder, 'occupancy.json.new'))
  await writeOccupancy(folder, OCCUPANCY)
  await t.rejects(writeOccupancy(folder, { ...OCCUPANCY, createdAt: 2 }), { code: 'EISDIR' })
})

t.test('a damaged note of one instance does not keep the logs of others', async (t) => {
  const root = await aFolder(t)
  const folders = ['0', '1', '2'].map((slot) => join(root, 'instances', 'shop', slot))
  for (const folder of folders) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'lines'), 'x')
    await writeFile(join(folder, 'occupancy.json'), JSON.stringify({ endedAt: 1000, keep: 500 }))
  }
  const [damaged = '', stuck = '', other = ''] = folders
  await writeFile(join(damaged, 'occupancy.json'), '{"endedAt":10')
  // A folder is no log, and is not deleted as one.
  await mkdir(join(stuck, 'log', 'something'), { recursive: true })
  await t.rejects(new HostFolder(root).expireLogs(1500))
  t.same(await readdir(other), ['occupancy.json'])
  t.ok((await readdir(damaged)).includes('lines'), 'nobody knows how long it is kept')
})

t.test(
  'where no more files may be opened, no instance is taken for one that has ended',
  { skip: skipWithoutLimits || (process.platform !== 'linux' && 'there is no /proc') },
  async (t) => {
    const root = await aFolder(t)
    const folder = join(root, 'instances', 'hello', '0')
    await mkdir(folder, { recursive: true })
    await writeOccupancy(folder, OCCUPANCY)
    const moduleOf = (name: string) =>
      JSON.stringify(import.meta.resolve(`../../lib/hosting/${name}.js`))
    const script = `
      import { statOf } from ${moduleOf('driver/proc')}
      import { HostFolder } from ${moduleOf('host-folder')}
      import { occupancyOf } from ${moduleOf('occupancy')}
      const [, root, folder] = process.argv
      const host = new HostFolder(root)
      const codeOf = (asked) => asked.then((answer) => answer, ({ code }) => code)
      leaveOpen(0)
      const codes = await Promise.all([codeOf(occupancyOf(folder)), codeOf(host.kept())])
      const asked = statOf(process.pid)
      setTimeout(() => leaveOpen(5), 20)
      const alive = setInterval(() => {}, 1000)
      console.log(JSON.stringify({ codes, isThere: (await asked) !== null }))
      clearInterval(alive)`
    t.strictSame(withFewFiles(script, root, folder), {
      codes: ['EMFILE', 'EMFILE'],
      isThere: true
    })
  }
)
