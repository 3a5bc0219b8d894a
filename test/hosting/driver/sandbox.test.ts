import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Kept, Running, StartTerms } from '../../../lib/hosting/driver/driver.js'
import { signalTo, statOf } from '../../../lib/hosting/driver/proc.js'
import { ProcessDriver } from '../../../lib/hosting/driver/process-driver.js'
import { inSandbox, whyNoSandbox } from '../../../lib/hosting/driver/sandbox.js'
import { restWhile } from '../../rest.js'
import { aFolder } from '../bundle/folders.js'

const DRIVER = new URL('../../../lib/hosting/driver/process-driver.js', import.meta.url).href
const skip = process.platform === 'linux' ? ((await whyNoSandbox()) ?? false) : 'only Linux has it'
/** With cgroups, and where there are none. */
const DRIVERS = [new ProcessDriver(), new ProcessDriver({ cgroups: false })]
const { users } = skip ? { users: false } : await new ProcessDriver().available()
const UIDS = users ? [null, 61_234] : [null]

// What an instance does keeps nobody alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test(
  'what is shut in sees its folders and what programs need, and nothing else of the host',
  { skip },
  async (t) => {
    process.env.OURS = 'secret'
    for (const uid of UIDS) {
      const { start, output, terms, key } = await aHost(t, uid)
      // What tap adds to Node's options is in the folder of the clone, which is not seen.
      const script = `
        cat ${key} /etc/shadow; ls /root /home /var/lib; ls ${join(key, '..')}
        echo x > ${terms.folder}/written; echo x > ${terms.data}/kept && echo data
        echo x > /usr/written; echo x > /written; echo x > /tmp/free && echo tmp
        echo 0 > /proc/sys/vm/overcommit_memory
        grep -E 'NoNewPrivs|CapEff' /proc/self/status
        echo ids $(id -u) $(pwd); echo pids $(ls /proc | grep -cE '^[0-9]+$')
        unset NODE_OPTIONS; env; cat file; node -p '40 + 2'`
      await writeFile(join(terms.folder, 'file'), 'of the bundle')
      const running = await start({ command: ['/bin/sh', '-c', script], env: { PORT: '80' } })
      t.match(await running.ended, { code: 0 })
      const text = await output()
      t.notMatch(text, /secret/)
      const failed = text
        .split('\n')
        .filter((line) => /No such file|Read-only|denied|nonexistent/.test(line))
      t.equal(failed.length, 10, failed.join('\n'))
      t.match(text, /^data\n/m)
      t.match(text, /^tmp\n/m)
      t.match(text, /NoNewPrivs:\s*1\n/)
      t.match(text, /CapEff:\s*0+\n/)
      t.match(text, `ids ${uid ?? process.getuid?.()} ${terms.folder}\n`)
      t.ok(Number(/pids (\d+)/.exec(text)?.[1]) < 8, 'of processes it sees its own')
      t.match(text, /^PORT=80$/m)
      t.match(text, /of the bundle42\n$/)
      t.equal(await readFile(join(terms.data, 'kept'), 'utf8'), 'x\n', 'what it kept is there')
    }
  }
)

t.test('what sets a bundle up may write into it', { skip }, async (t) => {
  for (const uid of UIDS) {
    const { start, terms } = await aHost(t, uid)
    const command = ['/bin/sh', '-c', 'echo made > made']
    t.match(await (await start({ command, mayWrite: true })).ended, { code: 0 })
    t.equal(await readFile(join(terms.folder, 'made'), 'utf8'), 'made\n')
  }
})

t.test(
  'a signal reaches the program, which ends as it likes, and what it left behind ends with it',
  { skip },
  async (t) => {
    for (const driver of DRIVERS) {
      const { start, output } = await aHost(t, null, driver)
      const script =
        'trap "echo asked; exit 5" TERM; setsid sleep 1000 & sleep 1000 & echo begun; while :; do sleep 0.05; done'
      const running = await start({ command: ['/bin/sh', '-c', script] })
      await restWhile(async () => !(await output()).includes('begun'))
      const all = await insideOf(running)
      t.ok(all.length >= 4)
      t.match(await readFile(`/proc/${running.kept.pid}/cmdline`, 'utf8'), /^\/bin\/sh\0-c\0trap/)
      t.ok(await running.usage())
      running.signal('SIGTERM')
      t.match(await running.ended, { code: 5 })
      t.match(await output(), /asked/)
      for (const pid of all) t.equal(await statOf(pid), null)
      const deaf = await start({ command: ['/bin/sh', '-c', 'trap "" TERM; sleep 1000'] })
      await deaf.kill()
      await deaf.ended
      t.equal(await statOf(deaf.kept.pid), null)
    }
  }
)

t.test('one of which nothing is left outside ends, too', { skip }, async (t) => {
  for (const driver of DRIVERS) {
    const { start } = await aHost(t, null, driver)
    const running = await start({ command: ['sleep', '1000'] })
    const leader = running.kept.leader?.pid as number
    const text = await readFile(`/proc/${leader}/stat`, 'utf8')
    signalTo(Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]), 'SIGKILL')
    await running.ended
    t.equal(await statOf(running.kept.pid), null)
  }
})

t.test('it outlives the host that started it, and the next one finds it', { skip }, async (t) => {
  const { terms } = await aHost(t)
  for (const driver of DRIVERS) {
    const first = hostOf({ ...terms, command: ['sleep', '1000'] })
    const kept = await keptBy(first)
    first.kill('SIGKILL')
    await once(first, 'exit')
    const running = (await driver.adopt(kept)) as Running
    t.ok(await running.usage())
    running.signal('SIGTERM')
    await running.ended
    t.equal(await driver.adopt(kept), null, 'it has ended')
    t.equal(await statOf(kept.leader?.pid as number), null)
  }
})

t.test('one that is bound to the host ends with it', { skip }, async (t) => {
  const { terms } = await aHost(t)
  const command = ['/bin/sh', '-c', 'setsid sleep 1000 & sleep 1000 & echo begun; wait']
  const host = hostOf({ ...terms, command, isBound: true })
  const kept = await keptBy(host)
  await restWhile(async () => !(await readFile(terms.log, 'utf8')).includes('begun'))
  const all = await childrenOf(kept.pid)
  t.equal(all.length, 2)
  host.kill('SIGKILL')
  for (const pid of [kept.pid, ...all]) await restWhile(async () => (await statOf(pid)) !== null)
})

t.test('one that nobody can find again has not begun', { skip }, async (t) => {
  const { terms, output } = await aHost(t)
  const host = hostOf(
    { ...terms, command: ['/bin/sh', '-c', 'echo begun; exec sleep 1000'] },
    false
  )
  const { pid, leader } = await keptBy(host)
  host.kill('SIGKILL')
  for (const one of [pid, leader?.pid as number])
    await restWhile(async () => (await statOf(one)) !== null)
  t.equal(await output(), '')
})

t.test('what cannot be started says so in its log, and ends', { skip }, async (t) => {
  const { start, output } = await aHost(t)
  t.match(await (await start({ command: ['no-such-program'] })).ended, { code: 127 })
  t.match(await output(), /no-such-program/)
  const data = '/nowhere/at/all'
  t.match(await (await start({ command: ['true'], data })).ended, { code: 1 })
  t.match(await output(), /bwrap: /)
})

t.test('the folder of the host is hidden before those of the app are shown', async (t) => {
  const words = inSandbox({
    ...{ folder: '/usr/x/bundles/a', data: '/usr/x/instances/b/data', hidden: '/usr/x' },
    ...{ mayWrite: false, changesUser: false, isBound: false }
  })
  const at = (...words_: string[]) => words.join(' ').indexOf(words_.join(' '))
  const order = [
    at('--ro-bind-try', '/usr', '/usr'),
    at('--tmpfs', '/usr/x'),
    at('--ro-bind', '/usr/x/bundles/a'),
    at('--bind', '/usr/x/instances/b/data')
  ]
  t.ok(order.every((place) => place > 0))
  t.same(
    order,
    [...order].sort((a, b) => a - b)
  )
})

/** Terms for programs of a test, each under a name of its own, and a key beside what they may see. */
async function aHost(t: Test, uid: number | null = null, driver = new ProcessDriver()) {
  const [folder, data, dir] = [await aFolder(t), await aFolder(t), await aFolder(t)]
  const key = join(dir, 'key')
  await writeFile(key, 'secret', { mode: 0o644 })
  for (const one of [folder, data, dir]) await chmod(one, 0o777)
  const log = join(dir, 'log')
  const name = `test-${process.pid}-${Math.random().toString(36).slice(2, 10)}`
  const own = { name, command: ['true'], folder, data, env: {}, log, memory: 0, uid }
  const terms: StartTerms = { ...own, sandbox: true }
  const start = async (fields: Partial<StartTerms>) => {
    const running = await driver.start({ ...terms, ...fields })
    t.teardown(() => running.kill())
    return running
  }
  return { terms, key, start, output: () => readFile(log, 'utf8').catch(() => '') }
}

/** Another process that starts an instance, and prints what it is found by. It may never be done with keeping that. */
function hostOf(terms: StartTerms, isKept = true) {
  const host = `
    import { ProcessDriver } from ${JSON.stringify(DRIVER)}
    setInterval(() => {}, 60_000)
    const say = (kept) => console.log(JSON.stringify(kept))
    const forEver = (kept) => new Promise(() => say(kept))
    const keep = ${isKept} ? async () => {} : forEver
    say((await new ProcessDriver().start(${JSON.stringify(terms)}, keep)).kept)`
  return spawn(process.execPath, ['--input-type=module', '-e', host])
}

async function keptBy(host: ReturnType<typeof hostOf>): Promise<Kept> {
  const [line] = await once(host.stdout, 'data')
  return JSON.parse(line)
}

/** The processes in a sandbox. */
async function insideOf({ kept }: Running): Promise<number[]> {
  const leader = kept.leader?.pid as number
  return [leader, kept.pid, ...(await childrenOf(kept.pid))]
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.trim().split(' ').map(Number)
}
