import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Progress, Sync } from '../../../lib/registry/replica/sync.js'

const FOREVER_MS = 60_000
const READ: Progress = { applied: 5, offered: 5, live: false }
const UNREAD: Progress = { applied: 4, offered: 5, live: false }
const LIVE = { live: true }

t.test('a directory is synced when a live registrar is there and all logs are read', async (t) => {
  const { sync, logs } = start(t, FOREVER_MS)
  t.notOk(isDone(sync), 'nothing is known')
  logs.push({ ...UNREAD, ...LIVE }, UNREAD)
  t.notOk(isDone(sync))
  logs[0] = { ...READ, ...LIVE }
  t.notOk(isDone(sync), 'others have what a registrar that was just restarted may lack')
  logs[1] = READ
  t.ok(isDone(sync))
  logs[0] = { ...UNREAD, ...LIVE }
  t.ok(isDone(sync), 'it stays so')
})

t.test('without a live registrar a directory waits for one', async (t) => {
  const { sync, logs } = start(t, FOREVER_MS)
  logs.push(READ)
  t.notOk(isDone(sync))
})

t.test('what nobody gives of the log of a dead registrar is not waited for long', async (t) => {
  const { sync, logs } = start(t, 1)
  logs.push({ ...READ, ...LIVE }, UNREAD)
  await once(sync, 'synced')
})

t.test('a copy will do after a while, once all is read that others have', async (t) => {
  const { sync, logs } = start(t, 1)
  logs.push(READ, UNREAD)
  await setTimeout(5)
  t.notOk(isDone(sync))
  logs[1] = READ
  t.ok(isDone(sync))
})

t.test(
  'what was proven to be written and nobody gives is given up when nothing comes',
  async (t) => {
    const { sync, logs } = start(t, 1, 50)
    logs.push({ ...UNREAD, applied: 0 })
    await setTimeout(120)
    t.notOk(isDone(sync), 'as long as nothing came at all it waits')
    logs.push(UNREAD)
    const beganAt = performance.now()
    sync.progressed()
    await once(sync, 'synced')
    // A timer counts from when its turn of the event loop began, which may be some ms before.
    t.ok(performance.now() - beganAt >= 25, 'and as long as something comes')
  }
)

t.test('what a live registrar has is waited for', async (t) => {
  const { sync, logs } = start(t, 1, 20)
  logs.push({ ...UNREAD, ...LIVE })
  await setTimeout(60)
  t.notOk(isDone(sync))
})

function start(t: Test, patience: number, stall = FOREVER_MS) {
  const logs: Progress[] = []
  const sync = new Sync({ progress: () => logs, patience, stall })
  sync.start()
  t.teardown(() => sync.stop())
  return { sync, logs }
}

function isDone(sync: Sync): boolean {
  sync.check()
  return sync.isDone
}
