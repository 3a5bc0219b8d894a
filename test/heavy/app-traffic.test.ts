import t, { type Test } from 'tap'
import { SERVER, settled } from '../fleet.js'
import { restWhile } from '../rest.js'
import { AppHarbor } from './app-harbor.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
const HOSTS = ['one', 'two', 'three']
const INSTANCES = 3
/** Requests a second. */
const RATE = 200
const TICK_MS = 20
/** Shares are counted over any such time, in ms. */
const WINDOW_MS = 5000
/** Two choices at random give the best instance twice its share, if it is always the quicker one. */
const MAX_SHARE = 2.5
const update = { steady: '3s' }

interface Answer {
  at: number
  pid: number
}

/** Programs that do not come to run, what else their release says, and why that is given up. */
const FAILING: [why: RegExp, more: object, program: string][] = [
  [/exit code 3\nno luck/, {}, `console.log('no luck'); process.exit(3)`],
  [/nothing listens/, {}, 'setInterval(() => {}, 1000)'],
  [
    /500/,
    { check: 'http:/health' },
    `require('node:http').createServer((request, response) => { response.statusCode = 500; response.end() })
      .listen(process.env.PORT, '127.0.0.1')`
  ],
  [/^before: it ended with exit code 5\nno table/, { before: 'echo no table; exit 5' }, SERVER]
]

t.test(
  'an update, a restart, releases that do not come to run, and hosts that end and come back fail no request, and no instance is overrun',
  { skip },
  async (t) => {
    const harbor = await AppHarbor.make(t)
    await harbor.registry()
    const hosts = new Map(HOSTS.map((name) => [name, harbor.host(name)]))
    for (const host of hosts.values()) await host.waitForLine('registered host')
    await harbor.web()
    const apps = await harbor.apps()
    const hello = { name: 'hello', instances: INSTANCES, update }
    const pids = async () => (await apps.status('hello')).instances.map(({ pid }) => pid).sort()
    t.teardown(() => apps.remove('hello').catch(() => {}))
    const run = async (version: string, more: object = {}, program = SERVER) =>
      apps.run(harbor.write({ ...hello, version, ...more }, program))
    await run('1.0.0')
    await settled(apps, 'hello')
    const ask = async () => {
      const { status, body } = await harbor.get('hello.test')
      return { status, pid: status === 200 ? JSON.parse(body).pid : 0 }
    }
    await restWhile(async () => (await ask()).status !== 200)
    const load = new Load(ask)
    t.teardown(() => load.stop())
    load.start()

    await run('2.0.0')
    await settled(apps, 'hello')
    await load.judge(t, 'update', MAX_SHARE)

    const former = await pids()
    await apps.restart('hello')
    await settled(apps, 'hello')
    await load.judge(t, 'restart', MAX_SHARE)
    const before = await pids()
    t.notOk(
      before.some((pid) => former.includes(pid)),
      'it changes every pid'
    )

    for (const [i, [why, more, program]] of FAILING.entries()) {
      const version = `3.0.${i}`
      await run(version, { update: { ...update, deadline: '2s' }, ...more }, program)
      await restWhile(() => apps.history('hello')[0]?.hasFailed !== true)
      await settled(apps, 'hello')
      const { failures } = await apps.status('hello')
      t.match(failures[0]?.why, why, version)
      t.same(await pids(), before, 'the same programs run')
      await load.judge(t, `${version}: ${failures[0]?.why.replace('\n', '; ')}`, MAX_SHARE)
    }

    for (const name of HOSTS) {
      await hosts.get(name)?.kill('SIGTERM')
      hosts.set(name, harbor.host(name))
      // What took the place of its instances meanwhile has ended again.
      await restWhile(async () => {
        await settled(apps, 'hello')
        return `${await pids()}` !== `${before}`
      })
    }
    t.pass('the same programs run')
    load.stop()
    await load.judge(t, 'hosts')
  }
)

type Ask = () => Promise<{ status: number | undefined; pid: number }>

/** Asks so often, whether answers come or not. */
class Load {
  readonly #ask: Ask
  readonly #open = new Set<Promise<void>>()
  #answers: Answer[] = []
  #failures: string[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(ask: Ask) {
    this.#ask = ask
  }

  start() {
    const beganAt = performance.now()
    let asked = 0
    this.#timer = setInterval(() => {
      const due = ((performance.now() - beganAt) * RATE) / 1000
      // What a pause of this machine has kept back is not asked all at once.
      asked = Math.max(asked, Math.floor(due) - RATE)
      for (; asked < due; asked++) this.#begin()
    }, TICK_MS)
  }

  stop() {
    if (this.#timer) clearInterval(this.#timer)
  }

  /**
   * Says of all requests until now whether one failed, and which part an instance got of them at most.
   *
   * @param bound of that part. Default: none, as where a host is away with its instance
   */
  async judge(t: Test, when: string, bound = Infinity) {
    await Promise.all(this.#open)
    const answers = this.#answers.sort((one, other) => one.at - other.at)
    t.same(this.#failures, [], `${when}: none of ${answers.length} failed`)
    const share = largestShare(answers)
    t.ok(share <= bound, `${when}: at most ${share.toFixed(2)} times the even share`)
    this.#answers = []
    this.#failures = []
  }

  #begin() {
    const asking = this.#ask().then(
      ({ status, pid }) => {
        if (status === 200) this.#answers.push({ at: performance.now(), pid })
        else this.#failures.push(`${status}`)
      },
      (error) => {
        this.#failures.push(error.message)
      }
    )
    this.#open.add(asking)
    void asking.finally(() => this.#open.delete(asking))
  }
}

/** The largest part that one instance got of the answers within a window, as a multiple of the even share. */
function largestShare(answers: readonly Answer[]): number {
  const counts = new Map<number, number>()
  let first = 0
  let largest = 0
  for (const [i, { at, pid }] of answers.entries()) {
    counts.set(pid, (counts.get(pid) ?? 0) + 1)
    for (; (answers[first]?.at ?? at) < at - WINDOW_MS; first++) {
      const left = answers[first] as Answer
      counts.set(left.pid, (counts.get(left.pid) ?? 1) - 1)
    }
    const total = i - first + 1
    // Of few answers a share says nothing.
    if (total < (RATE * WINDOW_MS) / 1000 / 2) continue
    largest = Math.max(largest, (Math.max(...counts.values()) / total) * INSTANCES)
  }
  return largest
}
