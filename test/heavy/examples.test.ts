import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'
import { connect } from '../../lib/client/node.js'
import { freePort } from '../../lib/serving/local-port.js'
import { Cli, type Running } from '../bin/cli.js'
import { islandOf } from '../bin/island.js'

/** Each is a process of its own. */

const EXAMPLES = resolve(import.meta.dirname, '../../../examples')
const PAIR = resolve(EXAMPLES, 'one-service-one-consumer')

t.test('the consumer of the example gets its greeting, and both end by themselves', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)

  const service = cli.start([registryPublicKey], { program: resolve(PAIR, 'service.js') })
  await service.waitForLine('helloworld@1.0.0 is registered as ')
  const consumer = await cli.run([registryPublicKey], { program: resolve(PAIR, 'consumer.js') })
  t.match(consumer, { code: 0, stderr: '' })
  t.match(consumer.stdout, /^Hello, World!\nHTTP\/1\.1 200 OK\r?\n.*\nHello, World!\n$/s)
  t.match(await service.kill('SIGINT'), { code: 0, stderr: '' })
})

t.test('of three workers on one machine one is killed, and no job is lost', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)

  const program = (name: string) => ({
    program: resolve(EXAMPLES, 'work-queue', name)
  })
  const workers = []
  for (let i = 0; i < 3; i++) {
    const worker = cli.start([registryPublicKey], program('worker.js'))
    await worker.waitForLine('worker@1.0.0 is registered as ')
    workers.push(worker)
  }
  const journal = cli.path('journal.txt')
  const producer = cli.start([registryPublicKey, journal], program('producer.js'))
  const [first] = workers as [Running]
  await first.waitForLine('job ')
  await first.kill('SIGKILL')
  const { code, stdout } = await producer.outcome
  t.equal(code, 0)
  t.match(stdout, /^job \d+ once more: LINK_LOST$/m)
  t.match(stdout, /all 30 jobs are done\n$/)
  const done = readFileSync(journal, 'utf8').trim().split('\n')
  const squares = Array.from({ length: 30 }, (_, i) => `${i + 1} ${(i + 1) ** 2}`)
  t.same(done.toSorted(), squares.toSorted(), 'each is done, and once')

  const again = await cli.run([registryPublicKey, journal], program('producer.js'))
  t.match(again, { code: 0, stdout: 'all 30 jobs are done\n' })
  for (const worker of workers.slice(1)) t.match(await worker.kill('SIGTERM'), { code: 0 })
})

t.test(
  'pages of the message broker hear what one of them says, and no Redis is asked for',
  async (t) => {
    const cli = new Cli(t)
    const port = await freePort(0)
    // What `npm install` makes of its only dependency, which is the folder around it.
    const folder = cli.path('message-broker')
    cpSync(resolve(EXAMPLES, 'message-broker'), folder, { recursive: true })
    const { dependencies } = JSON.parse(readFileSync(resolve(folder, 'package.json'), 'utf8'))
    t.same(dependencies, { hyperseaport: 'file:../..' })
    rmSync(resolve(folder, 'node_modules'), { recursive: true, force: true })
    mkdirSync(resolve(folder, 'node_modules'))
    symlinkSync(resolve(EXAMPLES, '..'), resolve(folder, 'node_modules/hyperseaport'))
    const broker = cli.start([], {
      program: resolve(folder, 'index.js'),
      env: { DMB_PORT: String(port), REDIS_HOST: 'localhost' }
    })
    await broker.waitForLine('REDIS_HOST is not needed: there is nothing to connect to')
    await broker.waitForLine('the broker is open at ')
    const url = `http://127.0.0.1:${port}`
    t.match(await (await fetch(`${url}/role/broker@1.x/`)).text(), 'dmb:reconnect')
    const [ada, bob] = ['ada', 'bob'].map((token) =>
      connect(`${url}/channel/broker@1.x`, { token })
    )
    t.teardown(() => {
      ada?.close()
      bob?.close()
    })
    const [forAll, forBob] = ['broadcast', 'direct'].map(
      (kind) => new Promise((resolve) => bob?.on(kind, resolve))
    )
    await bob?.send('broadcast', { text: 'hello' })
    t.match(await forAll, { data: { from: 'bob', text: 'hello' } })
    await ada?.send('direct', { to: 'bob', text: 'you' })
    t.match(await forBob, { data: { from: 'ada', text: 'you' } })
    t.match(await broker.kill('SIGTERM'), { code: 0, stderr: '' })
  }
)

t.test('a relay keeps a letter for who is away, and the receipt for who has left', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)

  const program = (name: string) => ({
    program: resolve(EXAMPLES, 'mail-relay', name)
  })
  const relay = cli.start([registryPublicKey, cli.path('relay')], program('relay.js'))
  const relayKey = await relay.waitForLine('relay ')
  const read = () => cli.start([registryPublicKey, cli.path('reader')], program('reader.js'))
  const first = read()
  const key = await first.waitForLine('reader ')
  t.match(await first.kill('SIGTERM'), { code: 0, stderr: '' })

  const args = (text: string) => [registryPublicKey, cli.path('writer'), key, text]
  const kept = await cli.run(args('see you tomorrow'), program('writer.js'))
  t.match(kept, { code: 0, stderr: '' })
  const [, id] = /^(\w{8}) queued by (\w{8})$/m.exec(kept.stdout) ?? []
  t.match(kept.stdout, `${id} queued by ${relayKey.slice(0, 8)}\n`)

  const second = read()
  await second.waitForMatch(/^\w{8} wrote: see you tomorrow$/)
  const after = await cli.run([registryPublicKey, cli.path('writer')], program('writer.js'))
  t.match(after, { code: 0, stderr: '' })
  t.match(after.stdout, `${id} delivered by ${key.slice(0, 8)}\n`)
  t.equal(second.lines.stdout.length, 2, 'its key, and the letter once')
  for (const running of [second, relay]) t.match(await running.kill('SIGTERM'), { code: 0 })
})
