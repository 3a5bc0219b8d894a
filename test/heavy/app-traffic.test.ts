import t, { type Test } from 'tap'
import { Fleet } from '../fleet.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
const HOSTS = ['one', 'two', 'three']
const INSTANCES = 3
/** Requests a second. */
const RATE = 200
const TICK_MS = 20
/** Shares are counted over any such time, in ms. It is less than an instance takes until it is steady. */
const WINDOW_MS = 2000
/** Two choices at random give the best instance twice its share, if it is always the quicker one. */
const MAX_SHARE = 2.5
const update = { steady: '3s' }

interface Answer {
  at: number
  pid: number
}

t.test(
  'an update, a restart, and hosts that end and come back fail no request, and no instance is overrun',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    const hosts = new Map(
      await Promise.all(HOSTS.map(async (name) => [name, await fleet.host(name)] as const))
    )
    const apps = await fleet.apps()
    const web = await fleet.web()
    const terms = { instances: INSTANCES, update }
    const folder = await fleet.app({ version: '1.0.0', ...terms })
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    await fleet.answered(web, 'hello.test', 200, '1.0.0')
    const load = new Load(() => fleet.get(web, 'hello.test'))
    t.teardown(() => load.stop())
    load.start()

    await fleet.app({ version: '2.0.0', ...terms }, folder)
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    await load.judge(t, 'update', MAX_SHARE)

    await apps.restart('hello')
    await fleet.settled(apps, 'hello')
    await load.judge(t, 'restart', MAX_SHARE)

    const pidsOf = async () => (await apps.status('hello')).instances.map(({ pid }) => pid).sort()
    const before = await pidsOf()
    // What took the place of its instances meanwhile has ended again.
    const areBack = async () => {
      await fleet.settled(apps, 'hello')
      return `${await pidsOf()}` === `${before}`
    }
    for (const name of HOSTS) {
      await hosts.get(name)?.destroy()
      await fleet.host(name)
      while (!(await areBack())) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    t.pass('the same programs run')
    load.stop()
    await load.judge(t, 'hosts')
  }
)

type Ask = () => Promise<{ status: number | undefined; body: { pid: number } }>

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
      ({ status, body }) => {
        if (status === 200) this.#answers.push({ at: performance.now(), pid: body.pid })
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
