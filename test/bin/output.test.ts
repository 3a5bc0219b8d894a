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
