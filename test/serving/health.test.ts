import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import type { Signal } from '../../lib/core/abort.js'
import { SeaportError } from '../../lib/core/errors.js'
import { connectBackend } from '../../lib/serving/backend.js'
import { HealthCheck, type HealthCheckOptions, parseCheck } from '../../lib/serving/health.js'

const INTERVAL_MS = 200

/** A check of a backend whose answers are listed, the last one for ever. */
function checkOf(t: Test, answers: boolean[], options: Partial<HealthCheckOptions> = {}) {
  const times: number[] = []
  const health = new HealthCheck({
    checkInterval: INTERVAL_MS,
    connect: async () => {
      times.push(performance.now())
      if (answers[Math.min(times.length, answers.length) - 1]) return new PassThrough()
      throw SeaportError.BACKEND_UNREACHABLE('nobody there')
    },
    ...options
  })
  t.teardown(() => health.stop())
  return { health, times }
}

async function listen(t: Test, server: Server | ReturnType<typeof createTcpServer>) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  return ({ signal }: { signal: Signal }) => connectBackend({ host: '127.0.0.1', port }, { signal })
}

t.test('the first check says how it stands, without waiting for a second', async (t) => {
  const up = checkOf(t, [true])
  t.match(await up.health.start(), { health: 'passing', reason: null })
  const down = checkOf(t, [false])
  t.match(await down.health.start(), {
    health: 'failing',
    reason: { code: 'BACKEND_UNREACHABLE' }
  })
})

t.test('a change is confirmed soon, and told within two intervals', async (t) => {
  const { health, times } = checkOf(t, [true, true, false, false, true, true])
  await health.start()
  const [failing, reason] = await once(health, 'change')
  t.equal(failing, 'failing')
  t.match(reason, { code: 'BACKEND_UNREACHABLE' })
  const [, before = 0, , confirmed = 0] = times
  t.ok(confirmed - before < 2 * INTERVAL_MS, `${confirmed - before} ms after it was well`)
  t.strictSame(await once(health, 'change'), ['passing', null])
})

t.test('one odd answer changes nothing', async (t) => {
  const { health, times } = checkOf(t, [true, false, true, false, true, true, false])
  await health.start()
  await once(health, 'change')
  t.ok(times.length >= 8, `${times.length} checks`)
})

t.test('as many failures are needed as was asked for', async (t) => {
  const { health, times } = checkOf(t, [true, false], { checkFailures: 4 })
  await health.start()
  await once(health, 'change')
  t.equal(times.length, 5)
})

t.test('a refused stream has it look at once, and only when that is news', async (t) => {
  const { health, times } = checkOf(t, [true, false], { checkInterval: 10_000, checkFailures: 1 })
  await health.start()
  const change = once(health, 'change')
  health.suspect()
  health.suspect()
  t.equal((await change)[0], 'failing')
  health.suspect()
  t.equal(times.length, 2)
})

t.test('a path is asked for, and must be answered with 2xx or 3xx', async (t) => {
  let asked = ''
  const server = createServer((request, response) => {
    asked = `${request.method} ${request.headers.host}${request.url}`
    response.statusCode = Number(request.url?.slice(1))
    response.end('x'.repeat(100_000))
  })
  const connect = await listen(t, server)
  const outcome = async (status: number, checkHost?: string) => {
    const check = `http:/${status}`
    const health = new HealthCheck({ check, checkHost, connect, checkInterval: 10_000 })
    const { reason } = await health.start()
    health.stop()
    return reason?.message
  }
  t.equal(await outcome(200), undefined)
  t.equal(asked, 'GET localhost/200')
  t.equal(await outcome(200, 'api.example.com:8080'), undefined)
  t.equal(asked, 'GET api.example.com:8080/200')
  t.equal(await outcome(302), undefined)
  t.equal(await outcome(404), 'CHECK_FAILED: GET /404 was answered with 404')
  t.equal(await outcome(503), 'CHECK_FAILED: GET /503 was answered with 503')
})

t.test('what does not answer, or not in HTTP, fails', async (t) => {
  const silent = await listen(
    t,
    createTcpServer((socket) => socket.on('error', () => {}).resume())
  )
  const babbling = await listen(
    t,
    createTcpServer((socket) => socket.on('error', () => {}).end('hello\r\n\r\n'))
  )
  const check = 'http:/'
  for (const [connect, checkInterval, message] of [
    [silent, INTERVAL_MS, /^CHECK_FAILED: .* within 80 ms/],
    [babbling, 10_000, /^CHECK_FAILED: .*not HTTP/]
  ] as const) {
    const health = new HealthCheck({ check, connect, checkInterval })
    const { reason } = await health.start()
    health.stop()
    t.match(reason?.message, message)
  }
})

t.test('who asks for no check is told that all is well, and nobody is asked', async (t) => {
  const { health, times } = checkOf(t, [false], { check: 'none' })
  t.match(await health.start(), { health: 'passing' })
  health.suspect()
  t.equal(times.length, 0)
})

t.test('checks are read, and others refused', (t) => {
  t.same(parseCheck('tcp'), { kind: 'tcp' })
  t.same(parseCheck('none'), { kind: 'none' })
  t.same(parseCheck('http:/a/b?c=d'), { kind: 'http', path: '/a/b?c=d' })
  for (const text of ['', 'udp', 'http:', 'http://host/', 'http:/a b', 'https:/', 'http:/\r\n'])
    t.throws(() => parseCheck(text), { code: 'USAGE' }, text)
  for (const checkHost of ['', 'a b', 'a/b', 'a\r\nx: y', 'http://a', ':80']) {
    t.throws(() => checkOf(t, [true], { check: 'http:/', checkHost }), { code: 'USAGE' }, checkHost)
  }
  checkOf(t, [true], { check: 'http:/', checkHost: '[::1]:80' })
  t.throws(() => checkOf(t, [true], { checkHost: 'a' }), { code: 'USAGE', message: /http:/ })
  for (const checkInterval of [0, -1, Number.NaN, 601_000]) {
    t.throws(() => checkOf(t, [true], { checkInterval }), { code: 'USAGE' })
  }
  t.end()
})
