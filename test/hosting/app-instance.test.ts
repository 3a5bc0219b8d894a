import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import {
  AppInstance,
  type AppInstanceOptions,
  type InstanceState
} from '../../lib/hosting/app-instance.js'
import { statOf } from '../../lib/hosting/driver/proc.js'
import { ProcessDriver } from '../../lib/hosting/driver/process-driver.js'
import { aFolder } from './bundle/folders.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
/** Listens on PORT; `/` says its pid, `/sick` makes `/health` fail, `/die` ends it. */
const SERVER = `
  let health = 200
  require('node:http').createServer((request, response) => {
    if (request.url === '/sick') health = 503
    if (request.url === '/well') health = 200
    if (request.url === '/die') process.exit(3)
    response.writeHead(request.url === '/health' ? health : 200)
    response.end(String(process.pid))
  }).listen(process.env.PORT, '127.0.0.1')
  console.log('listening')`

// What an instance does keeps nobody alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test(
  'an instance starts, passes, is started anew when it ends, and stops',
  { skip },
  async (t) => {
    const { instance, options } = await anInstance(t)
    t.equal(instance.state, 'starting')
    instance.start()
    await until(instance, 'passing')
    const first = await pidOf(instance)
    t.equal(first, instance.pid)
    t.match(await instance.usage(), { memory: Number })
    t.same(await linesOf(options.terms.log), ['listening'])
    const exit = once(instance, 'exit')
    await fetch(`http://127.0.0.1:${instance.port}/die`).catch(() => {})
    t.match(await exit, [{ code: 3 }, Number])
    t.match(instance, { state: 'failing', reason: 'it ended with exit code 3', passingFor: 0 })
    await until(instance, 'passing')
    t.not(await pidOf(instance), first)
    t.equal(instance.reason, null)
    t.ok(instance.passingFor > 0)
    const pid = instance.pid as number
    await instance.stop()
    t.equal(instance.state, 'ended')
    t.equal(await statOf(pid), null)
    t.same(instance.stats, { starts: 2, exits: 2 })
  }
)

t.test(
  'the next process of the host finds it, on the same port, and does not start another',
  { skip },
  async (t) => {
    const { instance, options } = await anInstance(t)
    instance.start()
    await until(instance, 'passing')
    const pid = await pidOf(instance)
    await instance.leave()
    const next = new AppInstance(options)
    t.teardown(() => next.stop())
    next.start()
    await until(next, 'passing')
    t.equal(await pidOf(next), pid)
    t.equal(next.port, instance.port)
    t.equal(next.stats.starts, 0)
    await next.stop()
    t.equal(await statOf(pid), null)
    await t.rejects(readFile(options.stateFile), { code: 'ENOENT' })
  }
)

t.test(
  'what has ended while the host was away is started anew, and so is one whose file is broken',
  { skip },
  async (t) => {
    const { instance, options } = await anInstance(t)
    instance.start()
    await until(instance, 'passing')
    const pid = await pidOf(instance)
    await instance.leave()
    process.kill(pid, 'SIGKILL')
    // It dies a moment after it was told to, and until then it would be found.
    while ((await statOf(pid)) !== null) await pause()
    const next = new AppInstance(options)
    next.start()
    await until(next, 'passing')
    t.not(await pidOf(next), pid)
    await next.stop()
    await writeFile(options.stateFile, '{"kept":{"pid":1}}')
    const third = new AppInstance(options)
    third.start()
    await until(third, 'passing')
    await third.stop()
  }
)

t.test(
  'a check that fails makes it failing, with the reason, and it goes on',
  { skip },
  async (t) => {
    const { instance } = await anInstance(t, { check: 'http:/health', checkInterval: 50 })
    instance.start()
    await until(instance, 'passing')
    const pid = await pidOf(instance)
    await fetch(`http://127.0.0.1:${instance.port}/sick`)
    // On a busy machine it may fail for not answering in time before.
    while (!instance.reason?.includes('503')) await once(instance, 'change')
    t.equal(instance.state, 'failing')
    await fetch(`http://127.0.0.1:${instance.port}/well`)
    await until(instance, 'passing')
    t.equal(await pidOf(instance), pid)
  }
)

t.test('five early ends in a row are a crash loop', { skip }, async (t) => {
  const command = ['/bin/sh', '-c', 'echo oh no; exit 1']
  const { instance, options } = await anInstance(t, { command, backoffs: [1] })
  instance.start()
  while (!instance.isCrashLooping) await once(instance, 'exit')
  t.match(instance, { state: 'failing', reason: 'it ended with exit code 1' })
  t.match((await linesOf(options.terms.log)).slice(-2), ['oh no', 'oh no'])
  await instance.stop()
  t.equal(instance.state, 'ended')
})

t.test(
  'one that was started anew says how it ended before, until it passes',
  { skip },
  async (t) => {
    const begun = join(await aFolder(t), 'begun')
    const script = `[ -e ${begun} ] && exec sleep 1000; touch ${begun}; exit 3`
    const command = ['/bin/sh', '-c', script]
    const { instance } = await anInstance(t, { command, backoffs: [1] })
    instance.start()
    while (!instance.reason?.startsWith('nothing listens') || instance.stats.exits === 0)
      await once(instance, 'change')
    t.match(instance.reason, /; before that, it ended with exit code 3$/)
    await instance.stop()
  }
)

t.test('a worker without a port passes while it runs', { skip }, async (t) => {
  const command = ['/bin/sh', '-c', 'echo "port:$PORT"; exec sleep 1000']
  const { instance, options } = await anInstance(t, { command, port: null, check: 'none' })
  instance.start()
  await until(instance, 'passing')
  while ((await linesOf(options.terms.log))[0] !== 'port:') await pause()
  t.equal(instance.port, null)
})

t.test(
  'what does not listen is starting, and what cannot be started is failing',
  { skip },
  async (t) => {
    const { instance } = await anInstance(t, { command: ['sleep', '1000'] })
    instance.start()
    while (instance.pid === null) await pause()
    t.equal(instance.state, 'starting')
    await instance.stop()
    const { instance: bad } = await anInstance(t, { folder: '/nowhere', backoffs: [10_000] })
    bad.start()
    await until(bad, 'failing')
    t.match(bad.reason, /cannot be started/)
    await bad.stop()
  }
)

t.test('what could not be found again is not begun', { skip }, async (t) => {
  const stateFile = join(await aFolder(t), 'nowhere', 'state.json')
  const command = ['/bin/sh', '-c', 'echo begun']
  const { instance, options } = await anInstance(t, { command, stateFile, backoffs: [10_000] })
  instance.start()
  await until(instance, 'failing')
  t.match(instance.reason, /ENOENT/)
  t.same(await linesOf(options.terms.log), [''])
  t.same(instance.stats, { starts: 0, exits: 0 })
})

t.test('one that is stopped while it is being started leaves nothing', { skip }, async (t) => {
  const { instance, options } = await anInstance(t)
  const { start } = options.driver
  const pids: number[] = []
  options.driver.start = async (...terms) => {
    const running = await start.call(options.driver, ...terms)
    pids.push(running.kept.pid)
    return running
  }
  instance.start()
  await instance.stop()
  for (const pid of pids) t.equal(await statOf(pid), null)
  t.equal(instance.state, 'ended')
})

t.test(
  'one that is stopped before it was found again ends, in its own way',
  { skip },
  async (t) => {
    const ends = join(await aFolder(t), 'ends')
    const script = `trap 'echo ended > ${ends}; exit' TERM; echo ready; while :; do sleep 0.01; done`
    const command = ['/bin/sh', '-c', script]
    for (const isLookedFor of [true, false]) {
      const { instance, options } = await anInstance(t, { command, port: null, check: 'none' })
      instance.start()
      while ((await linesOf(options.terms.log))[0] !== 'ready') await pause()
      const { pid } = instance
      await instance.leave()
      const next = new AppInstance(options)
      if (isLookedFor) next.start()
      await next.stop()
      t.equal(await statOf(pid as number), null)
      t.equal(await readFile(ends, 'utf8'), 'ended\n')
      await rm(ends)
      await t.rejects(readFile(options.stateFile), { code: 'ENOENT' })
      t.equal(next.state, 'ended')
    }
  }
)

t.test('one that does not end when it is asked to is ended', { skip }, async (t) => {
  const command = ['/bin/sh', '-c', 'trap "" TERM; echo deaf; while :; do sleep 1; done']
  const { instance, options } = await anInstance(t, {
    command,
    port: null,
    check: 'none',
    grace: 50
  })
  instance.start()
  while ((await linesOf(options.terms.log))[0] !== 'deaf') await pause()
  await instance.stop()
  t.equal(instance.pid, null)
})

async function anInstance(
  t: Test,
  {
    command = [process.execPath, '-e', SERVER],
    folder = '',
    ...fields
  }: Partial<AppInstanceOptions> & { command?: string[]; folder?: string } = {}
) {
  const data = await aFolder(t)
  const options: AppInstanceOptions = {
    driver: new ProcessDriver(),
    terms: {
      name: `test-${process.pid}-${Math.random().toString(36).slice(2, 10)}`,
      command,
      folder: folder || data,
      data,
      env: {},
      log: join(data, 'log'),
      memory: 0
    },
    port: 0,
    check: 'tcp',
    stateFile: join(data, 'state.json'),
    ...fields
  }
  const instance = new AppInstance(options)
  t.teardown(() => instance.stop())
  return { instance, options }
}

async function until(instance: AppInstance, state: InstanceState) {
  while (instance.state !== state) await once(instance, 'change')
}

async function pidOf({ port }: AppInstance): Promise<number> {
  // On a connection of its own: a kept one may lead to the process that was on this port before.
  const request = get({ host: '127.0.0.1', port, agent: false })
  const [response] = await once(request, 'response')
  return Number(await text(response))
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, 10))
}

async function linesOf(log: string): Promise<string[]> {
  return (await readFile(log, 'utf8').catch(() => '')).trimEnd().split('\n')
}
