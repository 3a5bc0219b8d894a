import { appendFile, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AppLog, type AppLogOptions, type LogLine, mergeLines } from '../../lib/hosting/app-log.js'
import { HostFolder } from '../../lib/hosting/host-folder.js'
import { aFolder } from './bundle/folders.js'

// What looks at a log keeps nobody alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test('lines are kept with their times, and told as they come', async (t) => {
  let now = 1000
  const { log, write } = await aLog(t, { now: () => now })
  const told: LogLine[] = []
  log.on('line', (line) => told.push(line))
  await write('one\ntwo\r\nthr')
  now = 2000
  await write('ee\n\n')
  const expected = [
    { at: 1000, text: 'one' },
    { at: 1000, text: 'two' },
    { at: 2000, text: 'three' },
    { at: 2000, text: '' }
  ]
  t.same(told, expected)
  t.same(await log.lines(), expected)
  t.same(await log.lines({ since: 1500 }), expected.slice(2))
  t.same(await log.lines({ count: 1 }), expected.slice(3))
  t.same(await log.lines({ count: 0 }), [])
})

t.test('files are rotated at line ends, and there are no more of them than may be', async (t) => {
  const { log, write, folder } = await aLog(t, { size: 100, files: 3 })
  for (let i = 0; i < 50; i++) await write(`line ${i}\n`)
  const lines = await log.lines()
  t.equal(lines.at(-1)?.text, 'line 49')
  const numbers = lines.map(({ text }) => Number(text.slice(5)))
  t.same(
    numbers,
    numbers.map((_, i) => (numbers[0] ?? 0) + i),
    'without a gap'
  )
  for (const name of ['lines', 'lines.1', 'lines.2']) {
    const text = await readFile(join(folder, name), 'utf8')
    t.ok(Buffer.byteLength(text) <= 100)
    t.ok(text.endsWith('\n'))
  }
  await t.rejects(stat(join(folder, 'lines.3')), { code: 'ENOENT' })
  t.ok(log.stats.rotations > 10)
})

t.test(
  'the next process goes on where the last one was, and has what was written meanwhile',
  async (t) => {
    const { log, write, raw, options } = await aLog(t)
    await write('one\ntw')
    await appendFile(raw, 'o\n')
    const next = new AppLog(options)
    await next.open()
    await appendFile(raw, 'three\n')
    await next.flush()
    t.same(texts(await next.lines()), ['one', 'two', 'three'])
    await next.close()
    await log.close()
  }
)

t.test('a last line without an end is kept when it is over', async (t) => {
  const { log, write } = await aLog(t)
  await write('done\nlast words')
  t.same(texts(await log.lines()), ['done'])
  await log.close()
  t.same(texts(await log.lines()), ['done', 'last words'])
})

t.test(
  'the raw output is emptied once it was read, and lines that are too long are cut',
  async (t) => {
    const { log, write, raw } = await aLog(t, { size: 10_000_000 })
    await write(`${'x'.repeat(1_200_000)}\nend\n`)
    t.equal((await stat(raw)).size, 0)
    const lines = await log.lines()
    t.ok(lines.every(({ text }) => text.length <= 16 * 1024))
    t.equal(texts(lines).join(''), `${'x'.repeat(1_200_000)}end`)
    await write('after\n')
    t.equal((await log.lines()).at(-1)?.text, 'after')
  }
)

t.test('a raw file that somebody has emptied is read from its beginning', async (t) => {
  const { log, write, raw } = await aLog(t)
  await write('a long line before\n')
  await truncate(raw)
  await write('new\n')
  t.same(texts(await log.lines()), ['a long line before', 'new'])
})

t.test('lines of others in a file are passed by', async (t) => {
  const { log, write, folder } = await aLog(t)
  await write('mine\n')
  await appendFile(join(folder, 'lines'), 'not a date at all\nneither\n')
  t.same(texts(await log.lines()), ['mine'])
})

t.test('it reads by itself, and a full disk fails nobody', async (t) => {
  const { log, raw, options } = await aLog(t, { interval: 10 })
  const line = new Promise<LogLine>((resolve) => log.once('line', resolve))
  await writeFile(raw, 'by itself\n')
  t.match(await line, { text: 'by itself' })
  const broken = new AppLog({ ...options, folder: '/nowhere' })
  await broken.open()
  await broken.flush()
  await broken.close()
})

t.test('lines of several instances are one list by their times', async (t) => {
  const line = (at: number, text: string) => ({ at, text })
  const merged = mergeLines([
    [line(1, 'a'), line(5, 'b'), line(5, 'c')],
    [line(2, 'x'), line(5, 'y')]
  ])
  t.same(texts(merged), ['a', 'x', 'b', 'c', 'y'])
})

async function aLog(t: Test, fields: Partial<AppLogOptions> = {}) {
  const folder = await aFolder(t)
  const raw = join(await aFolder(t), 'raw')
  const options = { raw, folder, size: 10_000, files: 5, interval: 60_000, ...fields }
  const log = new AppLog(options)
  await log.open()
  t.teardown(() => log.close())
  const write = async (text: string) => {
    await appendFile(raw, text)
    await log.flush()
  }
  return { log, write, raw, folder, options }
}

function texts(lines: readonly LogLine[]): string[] {
  return lines.map(({ text }) => text)
}

t.test(
  'the log of an instance that has ended is kept for as long as its release says',
  async (t) => {
    const root = await aFolder(t)
    const folder = join(root, 'instances', 'shop', '0')
    await mkdir(join(folder, 'data'), { recursive: true })
    const names = ['log', 'lines', 'lines.1', 'lines.offset']
    for (const name of [...names, 'seed']) await writeFile(join(folder, name), 'x')
    await writeFile(join(folder, 'occupancy.json'), JSON.stringify({ endedAt: 1000, keep: 500 }))
    const hostFolder = new HostFolder(root)
    const left = async () => (await readdir(folder)).sort()
    await hostFolder.expireLogs(1499)
    t.same(await left(), ['data', ...names, 'occupancy.json', 'seed'].sort())
    await hostFolder.expireLogs(1500)
    t.same(await left(), ['data', 'occupancy.json', 'seed'], 'its data and its key stay')

    await writeFile(join(folder, 'lines'), 'x')
    await writeFile(join(folder, 'occupancy.json'), JSON.stringify({ app: 'shop', slot: 0 }))
    await hostFolder.expireLogs(1e15)
    t.ok((await left()).includes('lines'), 'that of one that runs is not touched')
  }
)
