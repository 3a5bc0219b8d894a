import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from '../../lib/serving/local-port.js'
import { Harbor } from '../gateway/harbor.js'
import { noNginx, startNginx } from './nginx.js'

const LARGE_BYTES = 100 * 1024 * 1024

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** nginx serving a folder, on a port of its own choosing. */
async function nginx(t: Test, dir: string): Promise<number> {
  const port = await freePort(0)
  await startNginx(
    t,
    dir,
    port,
    `gzip on; gzip_min_length 0; gzip_proxied any; gzip_types text/plain; types { text/plain txt; }
     default_type application/octet-stream;
     server { listen 127.0.0.1:${port}; root ${dir}; }`
  )
  return port
}

t.test('nginx behind the gateway answers as it does itself', { skip: noNginx }, async (t) => {
  const harbor = await Harbor.make(t)
  const dir = await harbor.testbed.dir()
  writeFileSync(join(dir, 'large.bin'), randomBytes(LARGE_BYTES))
  writeFileSync(join(dir, 'small.txt'), 'hello '.repeat(1000))
  const port = await nginx(t, dir)
  await harbor.service('files@1.0.0', port)
  const web = await harbor.web()
  const fetchBoth = async (path: string, init: RequestInit = {}) => {
    const [direct, through] = await Promise.all(
      [`http://127.0.0.1:${port}/`, `${web.url}role/files@1.x/`].map(async (base) => {
        const response = await fetch(base + path, init)
        const body = sha256(new Uint8Array(await response.arrayBuffer()))
        const headers = Object.fromEntries(response.headers)
        for (const name of ['date', 'via', 'connection', 'keep-alive', 'transfer-encoding'])
          delete headers[name]
        return { status: response.status, headers, body }
      })
    )
    t.strictSame(through, direct, `${path} ${JSON.stringify(init)}`)
    return through
  }
  await fetchBoth('large.bin')
  const small = await fetchBoth('small.txt')
  await fetchBoth('small.txt', { headers: { 'accept-encoding': 'identity' } })
  await fetchBoth('small.txt', { method: 'HEAD' })
  const etag = (await fetchBoth('large.bin', { method: 'HEAD' }))?.headers.etag ?? ''
  const unchanged = await fetchBoth('large.bin', { headers: { 'if-none-match': etag } })
  t.equal(unchanged?.status, 304)
  const range = await fetchBoth('large.bin', { headers: { range: 'bytes=1000-1999' } })
  t.equal(range?.status, 206)
  await fetchBoth('missing')
  await fetchBoth('small.txt', { method: 'POST', body: 'not allowed' })
  t.ok(small)
})

t.test('100 MB go up and come back the same, sized and chunked', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('echo@1.0.0', (request, response) => {
    const { 'content-length': length } = request.headers
    if (length !== undefined) response.setHeader('Content-Length', length)
    request.pipe(response)
  })
  const web = await harbor.web()
  const bytes = randomBytes(LARGE_BYTES)
  const chunks = async function* () {
    for (let at = 0; at < bytes.byteLength; at += 1_000_003)
      yield bytes.subarray(at, at + 1_000_003)
  }
  for (const body of [bytes, ReadableStream.from(chunks())]) {
    const response = await fetch(`${web.url}role/echo/`, {
      method: 'POST',
      body,
      duplex: 'half'
    } as RequestInit)
    t.equal(sha256(new Uint8Array(await response.arrayBuffer())), sha256(bytes))
  }
})
