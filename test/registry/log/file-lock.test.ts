import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { FileLock } from '../../../lib/registry/log/file-lock.js'

const MODULE = pathToFileURL(join(import.meta.dirname, '../../../lib/registry/log/file-lock.js'))
/** Takes the lock, says so, and never ends. */
const HOLDER = `
  const { FileLock } = await import(process.argv[1])
  console.log(FileLock.tryTake(process.argv[2]) ? 'taken' : 'refused')
  setInterval(() => {}, 1000)
`

async function lockFile(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-lock-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'lock')
}

t.test('a lock is had by one at a time, in one process too', async (t) => {
  const file = await lockFile(t)
  const first = FileLock.tryTake(file)
  t.ok(first)
  t.equal(FileLock.tryTake(file), null)
  first?.release()
  first?.release()
  const second = FileLock.take(file)
  t.equal(FileLock.tryTake(file), null, 'a second release of the first does not free the second')
  second.release()
})

t.test('a process that is killed leaves no lock behind', async (t) => {
  const file = await lockFile(t)
  const args = ['--input-type=module', '-e', HOLDER, MODULE.href, file]
  const holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => holder.kill('SIGKILL'))
  const [said] = await once(holder.stdout, 'data')
  t.equal(`${said}`, 'taken\n')
  t.equal(FileLock.tryTake(file), null)
  holder.kill('SIGKILL')
  await once(holder, 'close')
  const lock = FileLock.tryTake(file)
  t.ok(lock)
  lock?.release()
})

t.test('a lock that cannot be taken leaves no file open', async (t) => {
  const file = await lockFile(t)
  t.throws(() => FileLock.tryTake(join(file, 'below')), { code: 'ENOENT' })
})
