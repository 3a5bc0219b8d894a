import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FileLock } from '../../../lib/registry/log/file-lock.js'
import { temporaryFolder } from '../../../lib/registry/log/temporary-folder.js'

t.test(
  'what a process left behind goes with the next one, what is in use or strange stays',
  async (t) => {
    const parent = t.testdir()
    const before = process.env.TMPDIR
    process.env.TMPDIR = parent
    t.teardown(() => {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
    })
    const make = (name: string, file: string) => {
      const path = join(parent, name, file)
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, '')
      return path
    }
    make('hyperseaport-demo-aaaaaa', 'lock')
    make('hyperseaport-bbbbbb', 'store/CORESTORE')
    const used = FileLock.tryTake(make('hyperseaport-demo-cccccc', 'lock'))
    t.teardown(() => used?.release())
    make('hyperseaport-test-dddddd', 'lock')
    make('hyperseaport-eeeeee', 'notes')
    const first = await temporaryFolder()
    const second = await temporaryFolder()
    const stays = (name: string) => existsSync(join(parent, name))
    t.notOk(stays('hyperseaport-demo-aaaaaa'))
    t.notOk(stays('hyperseaport-bbbbbb'))
    t.ok(stays('hyperseaport-demo-cccccc'))
    t.ok(stays('hyperseaport-test-dddddd'))
    t.ok(stays('hyperseaport-eeeeee'))
    t.ok(existsSync(first.path), 'the second leaves the first alone')
    await first.destroy()
    await second.destroy()
    t.notOk(existsSync(first.path))
  }
)
