import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { slowness, Watchdog } from './watchdog.js'

t.test('a watchdog barks when the time is over, and not when it was stopped', async (t) => {
  const since = performance.now()
  const [watchdog, stopped] = [new Watchdog(30), new Watchdog(30)]
  stopped.stop()
  await once(watchdog.signal, 'abort')
  t.ok(performance.now() - since >= 29)
  t.notOk(stopped.signal.aborted)
})

t.test('it is patient while the machine has more to do than it has processors', async (t) => {
  // All threads of this process beside each other: each has a fraction of a processor.
  const memory = new Int32Array(new SharedArrayBuffer(4))
  const busy =
    'const { workerData } = require("node:worker_threads"); while (!Atomics.load(workerData, 0));'
  const workers = Array.from(
    { length: 2 * availableParallelism() },
    () => new Worker(busy, { eval: true, workerData: memory })
  )
  await Promise.all(workers.map((worker) => once(worker, 'online')))
  const measured = Array.from({ length: 2 }, slowness)
  Atomics.store(memory, 0, 1)
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  t.ok(Math.max(...measured) > 1, measured.join())
})
