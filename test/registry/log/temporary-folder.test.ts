import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileLock } from '../../../lib/registry/log/file-lock.js'
import { temporaryFolder } from '../../../lib/registry/log/temporary-folder.js'

const VARIABLE = process.platform === 'win32' ? 'TEMP' : 'TMPDIR'

function setTemporary(t: Test, parent: string) {
  const before = process.env[VARIABLE]
  process.env[VARIABLE] = parent
  t.teardown(() => {
    if (before === undefined) delete process.env[VARIABLE]
    else process.env[VARIABLE] = before
  })
}

t.test(
  'where no temporary folder can be made, it is said which, and what names another',
  async (t) => {
    const parent = join(t.testdir(), 'nowhere')
    setTemporary(t, parent)
    await t.rejects(temporaryFolder(), {
      code: 'STORAGE_FAILED',
      message: new RegExp(`nowhere.*ENOENT.*${VARIABLE}`)
    })
  }
)

t.test(
  'what a process left behind goes with the next one, what is in use or strange stays',
  async (t) => {
    const parent = t.testdir()
    setTemporary(t, parent)
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
