import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Writable } from 'node:stream'
import t from 'tap'
import { Output } from '../../bin/output.js'
import { Cli } from './cli.js'
import { islandOf, list } from './island.js'

const TO_FULL_DISK = ['sh', '-c', 'exec "$@" > /dev/full', '-']
const skip = existsSync('/dev/full') ? false : 'there is no /dev/full here'
const LINE = 'x'.repeat(1024 * 1024 - 1)

t.test('lines beyond 4 MiB that nobody reads are dropped, counted, and told of', async (t) => {
  let read = () => {}
  const lines: string[] = []
  const stalled = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(`${chunk.length}`)
      read = done
    }
  })
  const told: number[] = []
  const output = new Output(stalled, (dropped) => told.push(dropped))
  for (let i = 0; i < 6; i++) output.print(LINE)
  t.equal(output.stats.dropped, 2)
  t.equal(stalled.writableLength, 4 * 1024 * 1024)
  t.same(told, [], 'as long as nobody reads, nobody is told')

  const drained = once(stalled, 'drain')
  while (lines.length < 4) {
    read()
    await new Promise(setImmediate)
  }
  read()
  await drained
  t.same(told, [2])
  output.print('again')
  t.equal(lines.length, 5)
  t.equal(output.stats.dropped, 2)
})

/** A stream whose reader takes a piece each time it is asked to. */
function slowlyRead() {
  const read: string[] = []
  const waiting: (() => void)[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      read.push(`${chunk}`)
      waiting.push(done)
    }
  })
  return {
    stream,
    read,
    async take() {
      waiting.shift()?.()
      await new Promise(setImmediate)
    }
  }
}

t.test('of what is true one after the other, a slow reader gets the last at least', async (t) => {
  const { stream, read, take } = slowlyRead()
  const told: number[] = []
  const output = new Output(stream, (dropped) => told.push(dropped))
  for (let i = 0; i < 4; i++) output.print(LINE)
  for (const value of [1, 2, 3]) {
    output.printLatest('a', `a ${value}`)
    output.printLatest('b', `b ${value}`)
  }
  while (stream.writableLength > 0) await take()
  t.same(read.slice(4).join(''), 'a 3\nb 3\n')
  t.same(told, [4], 'and is told what it did not get')
  output.printLatest('a', 'a 4')
  t.equal(read.at(-1), 'a 4\n')
})

t.test('what is large waits for its reader, and so does the end of a program', async (t) => {
  const { stream, read, take } = slowlyRead()
  const output = new Output(stream, () => {})
  await output.allRead()
  const done: string[] = []
  const whole = output.printWhole(LINE).then(() => done.push('printed'))
  const all = output.allRead().then(() => done.push('read'))
  await new Promise(setImmediate)
  t.same(done, [])
  while (done.length < 2) await take()
  await Promise.all([whole, all])
  t.same(done.sort(), ['printed', 'read'])
  t.equal(read.join(''), LINE)
})

t.test('an answer that is larger than a pipe is printed to its end', async (t) => {
  const { cli, start } = await islandOf(t)
  const size = 3_000_000
  await start.instance('large@1.0.0', {
    commands: {
      text: () => 'x'.repeat(size),
      bytes: () => Buffer.alloc(size, 'x'),
      items: async function* () {
        for (let i = 0; i < 50; i++) yield 'x'.repeat(60_000)
      },
      fail: () => {
        throw new Error('it failed')
      }
    }
  })
  /** The exit code, and how many x were printed. */
  const lengthOf = async (...args: string[]) => {
    const { code, stdout } = await cli.run(['call', 'large', ...args])
    return [code, stdout.replaceAll(/[^x]/g, '').length]
  }
  t.same(await lengthOf('text'), [0, size])
  t.same(await lengthOf('text', '--all'), [0, size])
  t.same(await lengthOf('items', '--stream'), [0, size])
  t.same(await lengthOf('bytes'), [0, size])
  t.same(await lengthOf('fail'), [1, 0])
})

t.test('what runs goes on when the disk that its output goes to is full', { skip }, async (t) => {
  const { cli, start } = await islandOf(t)
  const line = ['service', '-p', `${start.port}`, '-r', 'a@1.0.0', '--dir', cli.path('data')]
  const service = cli.start(line, { at: TO_FULL_DISK })
  await service.waitForMatch(/^STORAGE_FAILED: what is printed cannot be written/)
  await service.waitForTalk('reached ')
  t.match(await list(cli), [{ role: 'a', status: 'passing' }])
  t.match(await service.kill('SIGTERM'), { code: 0 })
})

t.test('what answers and ends fails where its answer cannot be written', { skip }, async (t) => {
  const { code, stderr } = await new Cli(t).run(['seed'], { at: TO_FULL_DISK })
  t.equal(code, 1, 'a seed that nobody has is no success')
  t.match(stderr, /^STORAGE_FAILED: what is printed cannot be written/)
})
