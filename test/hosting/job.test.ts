import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Abort } from '../../lib/core/abort.js'
import { ProcessDriver } from '../../lib/hosting/driver/process-driver.js'
import { isJobBegun, type JobOptions, runJob } from '../../lib/hosting/job.js'
import { aFolder } from './bundle/folders.js'

const skip = process.platform !== 'linux' && 'only Linux has it'
const JOB = new URL('../../lib/hosting/job.js', import.meta.url).href
const DRIVER = new URL('../../lib/hosting/driver/process-driver.js', import.meta.url).href

// What a job does keeps nobody alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test('a job ends well, or says why it did not, with its last lines', { skip }, async (t) => {
  const { run, at } = await aJob(t)
  t.equal(await run('pwd > here; test "$A" = b && test -w "$HOME"'), null)
  t.equal((await readFile(join(at, 'here'), 'utf8')).trim(), at)
  t.equal(
    await run('for i in 1 2 3 4 5 6; do echo line $i; done; exit 3', 'second'),
    'it ended with exit code 3\nline 2\nline 3\nline 4\nline 5\nline 6'
  )
  t.equal(await run('kill -9 $$', 'third'), 'it ended with exit code 137\nKilled')
})

t.test('one that takes too long is killed', { skip }, async (t) => {
  const { run } = await aJob(t, { timeout: 300 })
  t.equal(await run('sleep 1000'), 'it took longer than 0.3 s')
})

t.test('its result is the same until its folder is removed', { skip }, async (t) => {
  const { run, at } = await aJob(t)
  const script = 'echo x >> runs; exit 7'
  t.equal(await run(script), 'it ended with exit code 7')
  t.ok(await run(script))
  t.equal(await readFile(join(at, 'runs'), 'utf8'), 'x\n', 'it ran once')
})

t.test('one whose state a power cut has left empty is run anew', { skip }, async (t) => {
  const { run, options, at } = await aJob(t)
  await mkdir(options.folder, { recursive: true })
  await writeFile(join(options.folder, 'state.json'), '')
  t.equal(await run('echo x >> runs'), null)
  t.equal(await readFile(join(at, 'runs'), 'utf8'), 'x\n')
})

t.test('one that could not be found again is not begun', { skip }, async (t) => {
  const { options, at } = await aJob(t)
  const driver = new ProcessDriver()
  const start = driver.start.bind(driver)
  driver.start = (terms, keep) =>
    start(terms, async (kept) => {
      await keep?.(kept)
      throw new Error('no space')
    })
  const terms = { ...options.terms, command: ['/bin/sh', '-c', 'echo x >> runs'] }
  await t.rejects(runJob({ ...options, driver, terms }), { message: 'no space' })
  t.ok(await isJobBegun(options.folder), 'the next process finds its file')
  t.equal(await runJob({ ...options, terms }), null)
  t.equal(await readFile(join(at, 'runs'), 'utf8'), 'x\n', 'it ran once')
})

t.test('what it writes is bounded, and its last lines are told', { skip }, async (t) => {
  const { run, options } = await aJob(t)
  const log = join(options.folder, 'log')
  let largest = 0
  const looking = setInterval(() => {
    largest = Math.max(largest, statSync(log, { throwIfNoEntry: false })?.size ?? 0)
  }, 20)
  t.teardown(() => clearInterval(looking))
  // In bursts of 1 MB, of which there are some until anybody looks.
  const burst = 'head -c 1000000 /dev/zero | tr "\\0" x; echo; sleep 0.1'
  // What is written in the moment in which it is cut may be cut, too.
  const rest = 'while [ $(stat -Lc %s /dev/stdout) -gt 4194304 ]; do sleep 0.05; done'
  const script = `for i in $(seq 30); do ${burst}; done; ${rest}; echo the end; exit 3`
  t.match(await run(script), /exit code 3\n(.*\n)*the end$/)
  t.ok(largest < 20_000_000, `${largest} bytes at most, of 30 MB`)
})

t.test(
  'it goes on when the host ends, and the next process learns how it ended',
  { skip },
  async (t) => {
    const { options, at } = await aJob(t)
    const { folder } = options
    const terms = { ...options.terms, command: ['/bin/sh', '-c', waiting(at)] }
    const host = `
    import { runJob } from ${JSON.stringify(JOB)}
    import { ProcessDriver } from ${JSON.stringify(DRIVER)}
    const signal = { aborted: false, addEventListener() {}, removeEventListener() {} }
    const terms = ${JSON.stringify(terms)}
    const folder = ${JSON.stringify(folder)}
    runJob({ driver: new ProcessDriver(), terms, folder, timeout: 1e6, signal, isKilled: () => false })`
    const first = spawn(process.execPath, ['--input-type=module', '-e', host])
    await there(join(folder, 'state.json'))
    first.kill('SIGKILL')
    await once(first, 'exit')
    t.ok(await isJobBegun(folder))
    const ending = runJob({ ...options, terms })
    await writeFile(join(at, 'go'), '')
    t.equal(await ending, 'it ended with exit code 4')
    t.equal(await readFile(join(at, 'runs'), 'utf8'), 'x\n', 'it ran once')
  }
)

t.test('a host that closes leaves it, or kills it, as it is told', { skip }, async (t) => {
  const { options, at } = await aJob(t)
  const terms = { ...options.terms, command: ['/bin/sh', '-c', waiting(at)] }
  const closing = new Abort()
  const left = runJob({ ...options, terms, signal: closing })
  await there(join(at, 'runs'))
  await there(join(options.folder, 'state.json'))
  closing.abort(new Error('closing'))
  await t.rejects(left, { message: 'closing' })
  const stopping = new Abort()
  const killed = runJob({ ...options, terms, signal: stopping, isKilled: () => true })
  stopping.abort(new Error('stopping'))
  await t.rejects(killed, { message: 'stopping' })
  t.equal(await readFile(join(at, 'runs'), 'utf8'), 'x\n', 'it was found again')
})

/** A script that waits for a file, and then fails. It does not outlive this test. */
function waiting(at: string): string {
  const alive = `kill -0 ${process.pid} 2>&-`
  return `echo x >> ${at}/runs; while ${alive} && ! [ -e ${at}/go ]; do sleep 0.05; done; exit 4`
}

async function aJob(t: Test, more: Partial<JobOptions> = {}) {
  const at = await aFolder(t)
  const bundle = join(at, 'bundle')
  await mkdir(bundle)
  const options: JobOptions = {
    driver: new ProcessDriver(),
    terms: { name: `job-${process.pid}`, command: [], folder: bundle, env: { A: 'b' }, memory: 0 },
    folder: join(at, 'first'),
    timeout: 60_000,
    signal: new Abort(),
    isKilled: () => false,
    ...more
  }
  const run = (script: string, name = 'first') =>
    runJob({
      ...options,
      folder: join(at, name),
      terms: { ...options.terms, command: ['/bin/sh', '-c', script] }
    })
  return { run, at: bundle, options }
}

async function there(path: string) {
  while (await access(path).catch(() => true)) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
