import { execFileSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readSmallFile } from '../../lib/core/small-file.js'

const skip = process.platform === 'win32' && 'there are no pipes with a name'
const MODULE = import.meta.resolve('../../lib/core/small-file.js')
const MIB = 1024 * 1024

t.test('the writer of a pipe is waited for, but not without end', { skip }, async (t) => {
  const pipe = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [pipe])
  t.throws(() => readSmallFile(pipe, { silence: 50 }), /nobody writes to it/)
  const writer = await open(pipe, 'r+')
  t.throws(() => readSmallFile(pipe, { silence: 50 }), /nobody writes to it/, 'who says nothing')
  await writer.write('here')
  await writer.close()
  const script = `
    import { readSmallFile } from ${JSON.stringify(MODULE)}
    process.stdout.write(readSmallFile('/dev/stdin', { silence: 20_000 }))`
  const reader = [process.execPath, '--input-type=module', '-e', script]
  const env = { ...process.env, NODE_OPTIONS: '' }
  const printed = (command: string) =>
    execFileSync('sh', ['-c', `${command} | "$@"`, '-', ...reader], { env }).toString()
  t.equal(printed('printf here'), 'here')
  t.equal(printed('true'), '', 'to a pipe of a shell nobody comes later')
})

t.test('a file is read whole up to the bytes that it may have', async (t) => {
  const folder = t.testdir({ full: '#'.repeat(MIB), over: '#'.repeat(MIB + 1) })
  const [full, over] = [join(folder, 'full'), join(folder, 'over')]
  t.equal(readSmallFile(full).byteLength, MIB)
  t.throws(() => readSmallFile(over), /more than 1 MiB/)
  t.equal(readSmallFile(over, { maxBytes: 2 * MIB }).byteLength, MIB + 1)
})
