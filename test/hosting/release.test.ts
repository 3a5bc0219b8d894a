import t from 'tap'
import { parseAppFile } from '../../lib/hosting/app-file.js'
import { hashOf } from '../../lib/hosting/bundle/chunk.js'
import { decodeRelease, encodeRelease, releaseOf } from '../../lib/hosting/release.js'

const HASH = hashOf(Buffer.from('a list'))
const FILE = parseAppFile(
  JSON.stringify({ name: 'shop', version: '1.2.3', command: ['node', 'shop.js'], env: { A: 'b' } })
)
const RELEASE = releaseOf(FILE, { list: HASH, platforms: ['linux-x64'] }, { madeAt: 1 })

t.test('a release is read as it was made, and the same terms make the same hash', async (t) => {
  const { bytes, hash } = encodeRelease(RELEASE)
  t.same(decodeRelease(bytes), RELEASE)
  t.match(RELEASE, { app: 'shop', version: '1.2.3', bundle: HASH, former: null, placement: 1 })
  t.equal(hash, hashOf(bytes))
  const again = releaseOf(FILE, { list: HASH, platforms: ['linux-x64'] }, { madeAt: 1 })
  t.equal(encodeRelease(again).hash, hash)
  const next = releaseOf(FILE, { list: HASH, platforms: null }, { madeAt: 1, former: hash })
  t.not(encodeRelease(next).hash, hash)
  t.equal(decodeRelease(encodeRelease(next).bytes).former, hash)
})

t.test('what stands in the app statement is not in the release', async (t) => {
  for (const field of ['instances', 'hostnames', 'place', 'build', 'name']) {
    t.notOk(Object.hasOwn(RELEASE, field), field)
  }
})

t.test('fields that are not known are passed by, and what is wrong is refused', async (t) => {
  const read = (fields: object) =>
    decodeRelease(Buffer.from(JSON.stringify({ ...RELEASE, ...fields })))
  t.same(read({ volumes: ['data'] }), RELEASE)
  const wrong: object[] = [
    { type: 'hyperseaport/release/2' },
    { app: '../etc' },
    { version: '1.x' },
    { bundle: 'abc' },
    { platforms: [] },
    { platforms: 'linux-x64' },
    { former: '' },
    { command: [] },
    { command: 'rm' },
    { port: -1 },
    { check: 'exec:rm' },
    { env: { 'A B': 'c' } },
    { env: { A: 1 } },
    { update: { surge: 0, steady: 1, deadline: 1 } },
    { update: null },
    { logs: { size: 1, files: 1 } },
    { uses: Array(17).fill('a') },
    { sandbox: 'no' },
    { driver: '../x' },
    { madeAt: undefined }
  ]
  for (const fields of wrong) {
    t.throws(
      () => read(fields),
      { code: 'BAD_BUNDLE', message: /no release/ },
      JSON.stringify(fields)
    )
  }
  for (const text of ['', 'null', '[]', '{', '7']) {
    t.throws(() => decodeRelease(Buffer.from(text)), { code: 'BAD_BUNDLE' }, text)
  }
})

t.test('a release has at most 256 KiB', async (t) => {
  const env = Object.fromEntries(
    Array.from({ length: 10 }, (_, i) => [`A${i}`, 'x'.repeat(30_000)])
  )
  t.throws(() => encodeRelease({ ...RELEASE, env }), { code: 'BAD_BUNDLE', message: /262144/ })
  const bytes = Buffer.from(JSON.stringify({ ...RELEASE, env }))
  t.throws(() => decodeRelease(bytes), { code: 'BAD_BUNDLE', message: /262144/ })
})
