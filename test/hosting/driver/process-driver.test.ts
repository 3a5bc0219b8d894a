import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { pidsIn } from '../../../lib/hosting/driver/cgroups.js'
import type { Abilities, Kept, Running, StartTerms } from '../../../lib/hosting/driver/driver.js'
import { signalTo, statOf } from '../../../lib/hosting/driver/proc.js'
import { ProcessDriver } from '../../../lib/hosting/driver/process-driver.js'
import { aFolder } from '../bundle/folders.js'

const DRIVER = new URL('../../../lib/hosting/driver/process-driver.js', import.meta.url).href
const MB = 1_000_000
const skip = process.platform !== 'linux' && 'only Linux has it'
const driver = new ProcessDriver()
const NOTHING: Abilities = { limits: [], users: false, noSandbox: 'no Linux' }
const { limits, users } = skip ? NOTHING : await driver.available()
const skipMemory = !limits.includes('memory') && 'no cgroup with a limit of memory can be made here'
const skipPids = !limits.includes('pids') && 'no cgroup with a limit of processes can be made here'
const skipUsers = !users && 'only root runs programs as other users'

// What an instance does keeps nobody alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test(
  'a program runs in its folder, with its own environment and nothing of ours',
  { skip },
  async (t) => {
    process.env.OURS = 'secret'
    const { start, output } = await aHost(t)
    const script = 'pwd; env; echo "$HOME" >&2'
    const running = await start({
      command: ['/bin/sh', '-c', script],
      env: { PORT: '80', APP: 'a b' }
    })
    t.same(await running.ended, { code: 0, signal: null, isOutOfMemory: false })
    const lines = (await output()).split('\n')
    const names = lines.flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? [])
    // A shell adds some of its own, and so does tap, to all that a test starts.
    const added = /^(PWD|OLDPWD|_|SHLVL|NODE_OPTIONS|_TAPJS_.*)$/
    t.same(names.filter((name) => !added.test(name)).sort(), ['APP', 'HOME', 'PATH', 'PORT'])
    t.ok(lines.includes('APP=a b'))
    t.equal(await running.usage(), null)
  }
)

t.test('how it ended is told, and what it left behind ends with it', { skip }, async (t) => {
  const { start, output } = await aHost(t)
  t.match(await (await start({ command: ['/bin/sh', '-c', 'exit 7'] })).ended, { code: 7 })
  t.match(await (await start({ command: ['no-such-program'] })).ended, { code: 127 })
  t.match(await output(), /no-such-program/)
  const running = await start({ command: ['/bin/sh', '-c', 'sleep 1000 & echo $!; kill -9 $$'] })
  t.match(await running.ended, { code: null, signal: 'SIGKILL' })
  const left = Number((await output()).trim().split('\n').at(-1))
  await gone(left)
  for (const group of running.kept.cgroups) await t.rejects(access(group), 'its groups are gone')
})

t.test(
  'a signal reaches all that it has started, and kill ends it at once',
  { skip },
  async (t) => {
    const { start, output } = await aHost(t)
    const script = 'sleep 1000 & echo $!; wait'
    const asked = await start({ command: ['/bin/sh', '-c', script] })
    const child = await firstNumber(output)
    asked.signal('SIGTERM')
    t.match(await asked.ended, { signal: 'SIGTERM' })
    await gone(child)
    const deaf = await start({
      command: ['/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done']
    })
    t.match(await deaf.usage(), { cpu: Number, memory: Number })
    await deaf.kill()
    t.match(await deaf.ended, { signal: 'SIGKILL' })
    await deaf.kill()
  }
)

t.test(
  'an instance outlives the host that started it, and the next one finds it',
  { skip },
  async (t) => {
    const { terms, output } = await aHost(t)
    const command = ['/bin/sh', '-c', 'echo $$; exec sleep 1000']
    const host = `
    import { ProcessDriver } from ${JSON.stringify(DRIVER)}
    const { kept } = await new ProcessDriver().start(${JSON.stringify({ ...terms, command })})
    console.log(JSON.stringify(kept))`
    const first = spawn(process.execPath, ['--input-type=module', '-e', host])
    const [line] = await once(first.stdout, 'data')
    await once(first, 'exit')
    const kept: Kept = JSON.parse(line)
    const running = (await driver.adopt(kept)) as Running
    t.teardown(() => running.kill())
    t.equal(kept.pid, await firstNumber(output))
    t.ok(await running.usage())
    running.signal('SIGTERM')
    t.same(await running.ended, { code: null, signal: null, isOutOfMemory: false })
    t.equal(await driver.adopt(kept), null, 'it has ended')
  }
)

t.test(
  'an instance that is bound to the host ends with it, however that ends, and so does all it has started',
  { skip },
  async (t) => {
    const { terms, output } = await aHost(t)
    // One child is in the group of processes, and one has left it: that is ended where there are cgroups.
    const script = 'sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; wait'
    const command = ['/bin/sh', '-c', script]
    const host = `
    import { ProcessDriver } from ${JSON.stringify(DRIVER)}
    const { kept } = await new ProcessDriver().start(${JSON.stringify({ ...terms, command, isBound: true })})
    console.log(JSON.stringify(kept))
    setInterval(() => {}, 60_000)`
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const first = spawn(process.execPath, ['--input-type=module', '-e', host])
      const [line] = await once(first.stdout, 'data')
      const kept: Kept = JSON.parse(line)
      while (!(await output()).includes(`${kept.pid}\n`)) await pause()
      const [child = 0, runaway = 0] = (await output()).trim().split('\n').slice(-3).map(Number)
      t.teardown(() => signalTo(runaway, 'SIGKILL'))
      t.not(await statOf(child), null, 'it runs')
      first.kill(signal)
      const bound = kept.cgroups.length > 0 ? [kept.pid, child, runaway] : [kept.pid, child]
      for (const pid of bound) await gone(pid)
    }
  }
)

t.test(
  'an instance that is bound ends by itself as any other, and with its guard',
  { skip },
  async (t) => {
    const { start, output } = await aHost(t)
    const command = ['/bin/sh', '-c', 'cat; echo read; exit 3']
    const running = await start({ command, isBound: true })
    t.match(await running.ended, { code: 3, signal: null })
    t.match(await output(), /^read$/m, 'its input is empty')
    const lasting = await start({ command: ['sleep', '1000'], isBound: true })
    const guard = await guardOf(lasting.kept.pid)
    process.kill(guard, 'SIGKILL')
    t.match(await lasting.ended, { signal: 'SIGKILL' }, 'it does not run unguarded')
  }
)

t.test(
  'a program begins when it can be found again, and never if the host is gone by then',
  { skip },
  async (t) => {
    const { terms, start, output } = await aHost(t)
    const command = ['/bin/sh', '-c', 'echo begun; exec sleep 1000']
    for (const isBound of [false, true]) {
      const host = `
    import { ProcessDriver } from ${JSON.stringify(DRIVER)}
    const keep = (kept) => { console.log(JSON.stringify(kept)); return new Promise(() => {}) }
    setInterval(() => {}, 60_000)
    await new ProcessDriver().start(${JSON.stringify({ ...terms, command, isBound })}, keep)`
      const first = spawn(process.execPath, ['--input-type=module', '-e', host])
      const [line] = await once(first.stdout, 'data')
      const kept: Kept = JSON.parse(line)
      t.not(await statOf(kept.pid), null, 'it waits')
      first.kill('SIGKILL')
      await gone(kept.pid)
      t.equal(await driver.adopt(kept), null)
      const failing = async () => Promise.reject(new Error('no space'))
      await t.rejects(driver.start({ ...terms, command, isBound }, failing), {
        message: 'no space'
      })
      t.equal(await output(), '', 'it has not begun')
    }
    let found: Kept | null = null
    const running = await start({ command }, async (kept) => {
      found = kept
    })
    t.same(running.kept, found)
    while ((await output()) !== 'begun\n') await pause()
  }
)

t.test('a stranger who has the pid now is not touched', { skip }, async (t) => {
  const stranger = spawn('sleep', ['1000'], { detached: true })
  t.teardown(() => stranger.kill('SIGKILL'))
  await once(stranger, 'spawn')
  const pid = stranger.pid as number
  const { start } = await aHost(t)
  const { ticks = '' } = (await statOf(pid)) ?? {}
  let { kept, ended } = await start({ command: ['true'] })
  // A tick is 10 ms: what started in the stranger's is taken for it.
  while (kept.ticks === ticks) ({ kept, ended } = await start({ command: ['true'] }))
  await ended
  t.equal(await driver.adopt({ ...kept, pid }), null, 'started at another time')
  t.equal(await driver.adopt({ ...kept, pid, ticks, boot: 'another' }), null, 'in another life')
  t.not(await statOf(pid), null)
})

t.test(
  'what uses more memory than it may is killed, and says so',
  { skip: skip || skipMemory },
  async (t) => {
    const { start } = await aHost(t)
    const hog = 'const all = []; for (;;) all.push(Buffer.alloc(10e6, 1))'
    const running = await start({ command: [process.execPath, '-e', hog], memory: 100 * MB })
    t.match(await running.ended, { isOutOfMemory: true })
    const fits = await start({ command: [process.execPath, '-e', '0'], memory: 100 * MB })
    t.same(await fits.ended, { code: 0, signal: null, isOutOfMemory: false })
  }
)

t.test(
  'without cgroups what a process may take is limited, and Node starts with it',
  { skip },
  async (t) => {
    const { start, output } = await aHost(t, new ProcessDriver({ cgroups: false }))
    const limits = await start({ command: ['cat', '/proc/self/limits'], memory: 200 * MB })
    await limits.ended
    const rows = new Map(
      (await output()).split('\n').map((row) => {
        const [name = '', soft = '', hard = ''] = row.split(/ {2,}/)
        return [name, [soft, hard]]
      })
    )
    const bytes = String(Math.ceil((200 * MB) / 1024) * 1024)
    t.same(rows.get('Max data size'), [bytes, bytes], 'it cannot raise it')
    t.same(rows.get('Max address space'), ['unlimited', 'unlimited'])
    t.same(limits.kept.cgroups, [])
    const hog = 'const all = []; for (;;) all.push(Buffer.alloc(10e6, 1))'
    const running = await start({ command: [process.execPath, '-e', hog], memory: 200 * MB })
    const { code, signal } = await running.ended
    t.ok(code !== 0 || signal !== null, 'it fails')
    // Node 24 sets aside 560 MB, of which it uses a tenth.
    const fits = await start({ command: [process.execPath, '-e', '0'], memory: 1000 * MB })
    t.match(await fits.ended, { code: 0, signal: null })
  }
)

t.test(
  'a fork bomb stops at its number of processes, and ends',
  { skip: skip || skipPids },
  async (t) => {
    const { start, output } = await aHost(t)
    const bomb = 'i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; wait'
    const running = await start({ command: ['/bin/sh', '-c', bomb], pids: 20 })
    while (!/[Cc]annot fork|Resource temporarily/.test(await output())) await pause()
    const [group = ''] = running.kept.cgroups
    t.ok((await pidsIn(group)).length <= 20)
    await running.kill()
    t.same(await pidsIn(group), [])
  }
)

t.test(
  'another user reads nothing of the host, and gets no rights',
  { skip: skip || skipUsers },
  async (t) => {
    const { start, output, terms } = await aHost(t)
    const key = join(terms.data, 'key')
    await writeFile(key, 'secret', { mode: 0o600 })
    // A test's folder is root's alone.
    await chmod(terms.folder, 0o755)
    await chmod(terms.data, 0o755)
    const script = `id -u; cat ${key}; grep -E 'NoNewPrivs|CapEff|CapBnd|Groups' /proc/self/status`
    await (await start({ command: ['/bin/sh', '-c', script], uid: 61_234 })).ended
    const text = await output()
    t.match(text, /^61234\n/)
    t.notMatch(text, /secret/)
    t.match(text, /NoNewPrivs:\s*1/)
    for (const name of ['CapEff', 'CapBnd']) t.match(text, new RegExp(`${name}:\\s*0+\n`))
  }
)

t.test(
  'what an app names in its environment is not taken by what runs before it with more rights',
  { skip: skip || skipUsers },
  async (t) => {
    const { start, output, terms } = await aHost(t)
    for (const folder of [terms.folder, terms.data]) await chmod(folder, 0o777)
    for (const name of ['setpriv', 'env', 'sh']) {
      const program = join(terms.folder, name)
      await writeFile(program, `#!/bin/sh\nid -u >> ${terms.data}/ran\n`, { mode: 0o755 })
    }
    const odd = {
      QUOTED: `a'b"c$d\n\`e\` \\`,
      ...{ IFS: 'x', UID: '5', OPTIND: 'x', _name: '1', HANDED_A: 'b' }
    }
    const PATH = `${terms.folder}:/usr/bin:/bin`
    await (await start({ command: ['sh'], env: { PATH }, uid: 61_234 })).ended
    t.equal(await readFile(join(terms.data, 'ran'), 'utf8'), '61234\n', 'only its own is its own')
    const env = { ...odd, PATH }
    await (await start({ command: ['/usr/bin/env', '-0'], env, uid: 61_234 })).ended
    const has = (await output()).split('\0')
    for (const [name, value] of Object.entries(env)) t.ok(has.includes(`${name}=${value}`), name)
  }
)

t.test('terms that make no sense are refused', { skip }, async (t) => {
  const { terms } = await aHost(t)
  const start = (fields: Partial<StartTerms>) => driver.start({ ...terms, ...fields })
  await t.rejects(start({ command: [] }), { code: 'USAGE' })
  await t.rejects(start({ name: '../evil' }), { code: 'USAGE' })
  await t.rejects(start({ log: join(terms.data, 'nowhere', 'log') }), { code: 'STORAGE_FAILED' })
  await t.rejects(start({ folder: join(terms.folder, 'nowhere') }), { code: 'COMMAND_FAILED' })
  const strict = new ProcessDriver({ needsSandbox: true })
  await t.rejects(strict.start(terms), { code: 'COMMAND_FAILED', message: /sandbox/ })
})

/** Terms for programs of a test, each under a name of its own. */
async function aHost(t: Test, by = driver) {
  const [folder, data] = [await aFolder(t), await aFolder(t)]
  const log = join(data, 'log')
  const name = `test-${process.pid}-${Math.random().toString(36).slice(2, 10)}`
  const terms: StartTerms = { name, command: ['true'], folder, data, env: {}, log, memory: 0 }
  const start = async (fields: Partial<StartTerms>, keep?: (kept: Kept) => Promise<void>) => {
    const running = await by.start({ ...terms, ...fields }, keep)
    t.teardown(() => running.kill())
    return running
  }
  return { terms, start, output: () => readFile(log, 'utf8').catch(() => '') }
}

async function firstNumber(output: () => Promise<string>): Promise<number> {
  for (;;) {
    const [, number] = /^(\d+)\n/.exec(await output()) ?? []
    if (number !== undefined) return Number(number)
    await pause()
  }
}

async function gone(pid: number) {
  while ((await statOf(pid)) !== null) await pause()
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, 10))
}

/** The process of ours that guards another one. */
async function guardOf(pid: number): Promise<number> {
  for (const one of await readdir('/proc')) {
    const words = (await readFile(`/proc/${one}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (words[2]?.includes('read -r word && exit') && words[4] === `${pid}`) return Number(one)
  }
  throw new Error(`nobody guards ${pid}`)
}
