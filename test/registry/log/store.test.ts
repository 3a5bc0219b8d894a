import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isMalformedFrame } from '../../../lib/core/holepunch.js'
import { isLocked, isMoved, isRefused, makeStore } from '../../../lib/registry/log/store.js'

t.test('a small store takes no more of the disk than it needs', async (t) => {
  const dir = t.testdir()
  const store = makeStore(dir, { writeBufferSize: 1024 * 1024 })
  t.teardown(() => store.close())
  const log = store.get({ name: 'log' })
  for (let i = 0; i < 100; i++) await log.append(Buffer.alloc(400))
  const { execFileSync } = await import('node:child_process')
  const kilobytes = Number.parseInt(execFileSync('du', ['-sk', dir], { encoding: 'utf8' }), 10)
  t.ok(kilobytes < 8000, `${kilobytes} KB, where RocksDB takes 76000 by default`)
})

t.test('what cannot be read of our own disk is told, and is no offence of a peer', async (t) => {
  const dir = t.testdir()
  const first = makeStore(dir)
  const log = first.get({ name: 'log' })
  for (let i = 0; i < 200; i++) await log.append(Buffer.alloc(4000, i))
  await first.close()
  // What was written last is sorted into a file when the store is opened.
  await opened(dir)
  const files = readdirSync(join(dir, 'db')).filter((name) => /\.(sst|blob)$/.test(name))
  t.ok(files.length > 0)
  const faults: Error[] = []
  const store = makeStore(dir, { onfault: (cause) => faults.push(cause) })
  t.teardown(() => store.close().catch(() => {}))
  const again = store.get({ key: log.key })
  await again.ready()
  for (const name of files) writeFileSync(join(dir, 'db', name), Buffer.alloc(64, 1))
  const errors = await Promise.all(
    Array.from({ length: 200 }, (_, i) => again.get(i, { wait: false }).catch((error) => error))
  )
  const failed = errors.filter((error) => error instanceof Error)
  t.ok(failed.length > 0)
  t.ok(faults.length > 0)
  t.notOk(faults.some(isRefused), `${faults[0]?.message}`)
  for (const error of failed) t.notOk(isMalformedFrame(error), error.message)
})

t.test('a disk that refuses is told from one whose files are damaged', async (t) => {
  for (const text of [
    'IO error: No space left on device: While appending to file: /x/000004.log',
    "EACCES: permission denied, open '/x/CORESTORE'",
    'EROFS: read-only file system, mkdir',
    'IO error: While open a file for appending: /x: Too many open files',
    'ENFILE: file table overflow, open /x/CORESTORE',
    'IO error: File too large: While appending'
  ]) {
    t.ok(isRefused(new Error(text)), text)
  }
  for (const text of [
    'Corruption: block checksum mismatch',
    'Corruption: CURRENT file does not end with newline',
    'IO error: No such file or directory: While open a file for random read: /x/000012.sst'
  ]) {
    t.notOk(isRefused(new Error(text)), text)
    t.notOk(isMoved(new Error(text)), text)
    t.notOk(isLocked(new Error(text)), text)
  }
})

async function opened(dir: string) {
  const store = makeStore(dir)
  await store.ready()
  await store.close()
}
