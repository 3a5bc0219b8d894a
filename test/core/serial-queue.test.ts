import t from 'tap'
import { KeyedQueue } from '../../lib/core/keyed-queue.js'
import { SerialQueue } from '../../lib/core/serial-queue.js'

/** A task that writes down when it begins and ends, and ends when it is told to. */
function task(said: string[], name: string) {
  let end = () => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const run = async () => {
    said.push(`${name} begins`)
    await ended
    said.push(`${name} ends`)
    return name
  }
  return { run, end: () => end() }
}

t.test('tasks run one after the other, in the order in which they came', async (t) => {
  const queue = new SerialQueue()
  const said: string[] = []
  const [a, b] = [task(said, 'a'), task(said, 'b')]
  t.equal(queue.isIdle, true)
  const done = [queue.run(a.run), queue.run(b.run)]
  t.equal(queue.isIdle, false)
  b.end()
  a.end()
  t.strictSame(await Promise.all(done), ['a', 'b'])
  t.strictSame(said, ['a begins', 'a ends', 'b begins', 'b ends'])
  t.equal(queue.isIdle, true)
})

t.test('a task that fails tells whoever gave it, and the next one runs', async (t) => {
  const queue = new SerialQueue()
  const failed = queue.run(() => Promise.reject(new Error('no')))
  const next = queue.run(async () => 'yes')
  await t.rejects(failed, { message: 'no' })
  t.equal(await next, 'yes')
  queue.run(() => Promise.reject(new Error('no'))).catch(() => {})
  await queue.idle()
  t.equal(queue.isIdle, true)
})

t.test('tasks of different keys do not wait for each other, and no key is kept', async (t) => {
  const queue = new KeyedQueue()
  const said: string[] = []
  const [a, b, other] = [task(said, 'a'), task(said, 'b'), task(said, 'other')]
  const done = [queue.run('one', a.run), queue.run('one', b.run), queue.run('two', other.run)]
  other.end()
  t.equal(await done[2], 'other')
  t.equal(queue.size, 1)
  b.end()
  a.end()
  await queue.idle()
  await Promise.all(done)
  t.strictSame(
    said.filter((word) => !word.startsWith('other')),
    ['a begins', 'a ends', 'b begins', 'b ends']
  )
  t.equal(queue.size, 0)
})
