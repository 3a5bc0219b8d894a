import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { inherited } from '../../lib/messaging/call-context.js'
import { Deadlines, type Timed } from '../../lib/messaging/deadlines.js'

/** Is late after so many ms. */
class Late implements Timed {
  readonly deadline: number
  readonly told: Promise<number>
  onlate: () => void = () => {}

  constructor(ms: number, since = performance.now()) {
    this.deadline = since + ms
    this.told = new Promise((resolve) => {
      this.onlate = () => resolve(performance.now())
    })
  }
}

t.test('each is told of its own deadline, in order and never early', async (t) => {
  const deadlines = new Deadlines()
  const order: number[] = []
  const now = performance.now()
  const all = [60, 5, 0, 30, 31, -5].map(async (ms) => {
    const late = new Late(ms, now)
    deadlines.start(late)
    t.ok((await late.told) >= late.deadline)
    order.push(ms)
  })
  await Promise.all(all)
  t.strictSame(order.slice(-3).sort(), [30, 31, 60])
  t.equal(order.at(-1), 60, 'the last one last')
})

t.test('what was stopped is not told, and stopping it twice stops nothing else', async (t) => {
  const deadlines = new Deadlines()
  const [stopped, other] = [new Late(20), new Late(20)]
  let isTold = false
  stopped.onlate = () => {
    isTold = true
  }
  const waiting = deadlines.start(stopped)
  deadlines.start(other)
  deadlines.stop(waiting)
  deadlines.stop(waiting)
  await other.told
  const last = new Late(20)
  deadlines.start(last)
  deadlines.stop(waiting)
  await last.told
  t.notOk(isTold)
})

t.test('one that is set by whom a deadline calls back is told as well', async (t) => {
  const deadlines = new Deadlines()
  const [first, second] = [new Late(1), new Late(0)]
  const onlate = first.onlate
  first.onlate = () => {
    deadlines.start(second)
    onlate()
  }
  deadlines.start(first)
  await Promise.all([first.told, second.told])
  t.pass()
})

t.test('what a deadline calls back has no part in the command whose handler set it', async (t) => {
  const deadlines = new Deadlines()
  const late = new Late(5)
  const seen = new Promise((resolve) => {
    late.onlate = () => resolve(inherited.getStore())
  })
  const context = {
    isAnswered: false,
    deadline: Infinity,
    signal: new AbortController().signal,
    meta: {}
  }
  await inherited.run(context, async () => {
    deadlines.start(late)
    await setTimeout(0)
  })
  t.equal(await seen, undefined)
})
