import { execFileSync } from 'node:child_process'
import { appendFile, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal } from '../../../lib/messaging/state/journal.js'

async function journalIn(t: Test, path = join(t.testdir({}), 'a.journal')) {
  const opened = await Journal.open({ path, release() {} })
  t.teardown(() => opened.journal.close())
  return { path, ...opened }
}

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => JSON.stringify({ n: from + i }))

/** Else the signal ends the process. */
process.on('SIGXFSZ', () => {})

t.test('what was appended is there when it is opened again', async (t) => {
  const { journal, path } = await journalIn(t)
  await journal.append(lines(0, 3))
  await journal.append(lines(3, 4))
  await journal.close()
  const again = await journalIn(t, path)
  t.same(again.lines, [{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }])
  t.equal(again.isDamaged, false)
  await again.journal.append(lines(4, 5))
  t.equal((await Journal.read(path)).lines.length, 5)
})

t.test('a line that was being written is thrown away, wherever it was torn', async (t) => {
  const { journal, path } = await journalIn(t)
  await journal.append(lines(0, 2))
  const whole = journal.size
  await journal.append(['{"n":2}'])
  const end = journal.size
  await journal.close()
  for (let size = end - 1; size >= whole; size--) {
    await truncate(path, size)
    const { journal, lines, isDamaged } = await journalIn(t, path)
    t.same(lines, [{ n: 0 }, { n: 1 }])
    t.equal(isDamaged, false)
    t.equal((await stat(path)).size, whole)
    await journal.append(['{"n":2}'])
    await journal.close()
  }
})

t.test('damage before lines that are well is told, and a copy is kept', async (t) => {
  const { journal, path } = await journalIn(t)
  await journal.append(lines(0, 5))
  await journal.close()
  const bytes = await readFile(path)
  bytes[bytes.indexOf('{"n":2}') + 5] = 0x39
  await writeFile(path, bytes)
  const again = await journalIn(t, path)
  t.equal(again.isDamaged, true)
  t.same(again.lines, [{ n: 0 }, { n: 1 }])
  t.same(await readFile(`${path}.damaged`), bytes)
})

t.test('what is no journal at all has no lines', async (t) => {
  const path = join(t.testdir({}), 'a.journal')
  await appendFile(path, Buffer.alloc(1000, 0x0a))
  t.same((await journalIn(t, path)).lines, [])
})

t.test('a rewrite replaces all of it, and one that was not finished nothing', async (t) => {
  const { journal, path } = await journalIn(t)
  await journal.append(lines(0, 100))
  await journal.rewrite(lines(7, 8))
  t.equal(journal.size, (await stat(path)).size)
  await journal.append(lines(8, 9))
  await journal.close()
  await writeFile(`${path}.new`, 'half of')
  t.same((await journalIn(t, path)).lines, [{ n: 7 }, { n: 8 }])
})

t.test('a full disk fails what is written then, and nothing before or after', async (t) => {
  const { journal, path } = await journalIn(t)
  await journal.append(lines(0, 2))
  const limit = (size: string) =>
    execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${size}:unlimited`])
  limit(`${journal.size + 20}`)
  try {
    await t.rejects(journal.append(lines(2, 20)), { code: 'EFBIG' })
    t.same((await Journal.read(path)).lines, [{ n: 0 }, { n: 1 }])
  } finally {
    limit('unlimited')
  }
  await journal.append(lines(20, 21))
  t.same((await Journal.read(path)).lines, [{ n: 0 }, { n: 1 }, { n: 20 }])
})
