import t, { type Test } from 'tap'
import { KeyedRetry } from '../../lib/core/keyed-retry.js'

/** A task that ends when it is told to. */
function heldTask(t: Test) {
  // What waits in a KeyedRetry alone keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const keys: string[] = []
  const ends: ((isDone: boolean | Error) => void)[] = []
  let began: () => void = () => {}
  const task = (key: string) => {
    keys.push(key)
    const run = new Promise<boolean>((resolve, reject) => {
      ends.push((end) => (typeof end === 'boolean' ? resolve(end) : reject(end)))
    })
    began()
    return run
  }
  const next = () =>
    new Promise<void>((resolve) => {
      began = resolve
    })
  return { keys, task, next, end: (isDone: boolean | Error) => void ends.shift()?.(isDone) }
}

t.test('a task is run again while it says that it is not done, or rejects', async (t) => {
  const { keys, task, next, end } = heldTask(t)
  const retry = new KeyedRetry(task, [1])
  t.teardown(() => retry.close())
  retry.wake('a')
  for (const isDone of [false, new Error('no')]) {
    const again = next()
    end(isDone)
    await again
  }
  t.same(keys, ['a', 'a', 'a'])
  end(true)
  await new Promise(setImmediate)
  t.equal(retry.size, 0, 'and is forgotten once it is done')
})

t.test('a key that is woken while its task runs has one more run after it', async (t) => {
  const { keys, task, next, end } = heldTask(t)
  const retry = new KeyedRetry(task)
  t.teardown(() => retry.close())
  retry.wake('a')
  retry.wake('a')
  retry.wake('a', 5000)
  retry.wake('b')
  t.same(keys, ['a', 'b'], 'keys do not wait for each other')
  const again = next()
  end(true)
  await again
  t.same(keys, ['a', 'b', 'a'])
  end(true)
  end(true)
  await new Promise(setImmediate)
  t.equal(retry.size, 0)
})

t.test('a key that waits is run at once when it is woken, and none after the end', async (t) => {
  const { keys, task, end } = heldTask(t)
  const retry = new KeyedRetry(task, [1_000_000])
  retry.wake('a', 1_000_000)
  t.same(keys, [])
  retry.wake('a')
  t.same(keys, ['a'])
  end(false)
  await new Promise(setImmediate)
  retry.wake('a')
  t.same(keys, ['a', 'a'])
  retry.close()
  end(false)
  retry.wake('b')
  await new Promise(setImmediate)
  t.same(keys, ['a', 'a'])
  t.equal(retry.size, 0)
})
