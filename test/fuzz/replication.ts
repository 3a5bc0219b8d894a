import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Protomux } from '../../lib/core/holepunch.js'
import { Corestore, Hyperbee, type Hypercore } from '../../lib/registry/log/hypercore.js'
import { Line, settled } from './line.js'
import type { Target } from './mutants.js'

/** For what is read from a disk in between. */
const A_MOMENT_MS = 2

/** A log as it is copied, by one who has nothing of it: what each of the two hears of the other. */
export async function replicationTargets(
  teardown: (close: () => Promise<void>) => void
): Promise<Record<string, Target>> {
  const open = async () => {
    const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-fuzz-'))
    const store = new Corestore(dir)
    teardown(async () => {
      await store.close()
      await rm(dir, { recursive: true, force: true })
    })
    await store.ready()
    return store
  }
  const [writer, reader] = [await open(), await open()]
  const log = writer.get({ name: 'log' })
  await fill(log)
  const [near, far] = Line.pair()
  writer.replicate(Protomux.from(far.stream))
  reader.replicate(Protomux.from(near.stream))
  const copy = reader.get({ key: log.key })
  await copy.ready()
  const all = new Hyperbee(copy, { keyEncoding: 'utf-8', valueEncoding: 'json' })
  const { length } = log
  while (copy.length < length) await sleep(A_MOMENT_MS)
  for await (const _entry of all.createReadStream());
  near.destroy()
  far.destroy()
  const empty = await open()
  const follower = empty.get({ key: log.key })
  await follower.ready()
  const hear = (store: Corestore, isInitiator: boolean) => async (messages: Buffer[]) => {
    const line = new Line(isInitiator)
    line.on('error', () => {})
    store.replicate(Protomux.from(line.stream))
    for (const message of messages) {
      line.feed(message)
      await settled()
    }
    await sleep(A_MOMENT_MS)
    line.destroy()
    await settled()
    return log.length === length && log.fork === 0 && follower.length <= length
  }
  const shared = { isSlow: true, mayAccept: Boolean }
  return {
    'log that is served': { ...shared, valid: near.said, read: hear(writer, false) },
    'log that is copied': { ...shared, valid: far.said, read: hear(empty, true) }
  }
}

async function fill(log: Hypercore) {
  await log.ready()
  const bee = new Hyperbee(log, { keyEncoding: 'utf-8', valueEncoding: 'json' })
  for (let i = 0; i < 20; i++) {
    const batch = bee.batch()
    await batch.put(`instance/a/1.0.0/${i}`, { i })
    await batch.flush()
  }
}
