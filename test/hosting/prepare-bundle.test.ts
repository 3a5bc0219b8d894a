import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { prepareBundle } from '../../lib/hosting/prepare-bundle.js'
import { aFolder } from './bundle/folders.js'

t.test(
  'who packs keeps the chunks of the last bundle, and of others for a week and until it was pushed',
  async (t) => {
    const root = await aFolder(t)
    const dir = await aFolder(t)
    const file = { name: 'app', version: '1.0.0', command: ['node', 'server.js'] }
    await writeFile(join(root, 'hyperseaport.app.json'), JSON.stringify(file))
    const pack = async (text: string) => {
      await writeFile(join(root, 'server.js'), text)
      const { bundle, store, expire } = await prepareBundle(root, dir, () => {})
      return { store, expire, hashes: [bundle.list, ...bundle.chunks.map(({ hash }) => hash)] }
    }
    const missing = async ({ store, hashes }: Awaited<ReturnType<typeof pack>>) =>
      (await Promise.all(hashes.map((hash) => store.has(hash)))).filter((isThere) => !isThere)
        .length
    const first = await pack('one')
    const second = await pack('two')
    t.equal(await missing(first), 0, 'a day may bring it back')
    const long = new Date(Date.now() - 8 * 24 * 3_600_000)
    for (const hash of [...first.hashes, ...second.hashes]) {
      await utimes(join(dir, 'chunks', hash.slice(0, 2), hash.slice(2)), long, long)
    }
    const again = await pack('two')
    t.same(again.hashes, second.hashes)
    t.equal(await missing(first), 0, 'nothing is deleted before the push')
    // Another push from this machine ends meanwhile.
    await (await pack('three')).expire()
    t.equal(await missing(again), 0)
    t.not(await missing(first), 0, 'the rest is gone')
    t.equal(await missing(await pack('one')), 0, 'and is made again')
  }
)
