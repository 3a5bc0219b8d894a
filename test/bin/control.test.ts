import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Control } from '../../bin/control.js'
import { Cli } from './cli.js'

/** A folder for this user's data, for one test. */
function dataHome(t: Test): string {
  const [home, before] = [t.testdir(), process.env.XDG_DATA_HOME]
  process.env.XDG_DATA_HOME = home
  t.teardown(() => {
    if (before === undefined) delete process.env.XDG_DATA_HOME
    else process.env.XDG_DATA_HOME = before
  })
  return join(home, 'hyperseaport')
}

const FATES: [name: string, befall: (folder: string, file: string) => void][] = [
  ['that is there', () => {}],
  ['whose folder was deleted', (folder) => rmSync(folder, { recursive: true })],
  [
    'that cannot be removed any more',
    (_folder, file) => {
      rmSync(file)
      mkdirSync(join(file, 'in it'), { recursive: true })
    }
  ],
  [
    'whose folder is none any more',
    (folder) => {
      renameSync(folder, `${folder}-gone`)
      writeFileSync(folder, '')
    }
  ]
]

for (const [name, befall] of FATES) {
  t.test(`a control ends with a secret ${name}`, async (t) => {
    const folder = dataHome(t)
    const control = new Control(async () => null)
    const port = await control.open(0)
    const file = join(folder, `control-${port}`)
    t.ok(existsSync(file))
    befall(folder, file)
    await control.destroy()
    if (name === 'that is there') t.notOk(existsSync(file))
  })
}

t.test('a control that can keep no secret says why, and what to do', async (t) => {
  const folder = dataHome(t)
  writeFileSync(folder, '')
  const control = new Control(async () => null)
  t.teardown(() => control.destroy())
  await t.rejects(control.open(0), {
    code: 'STORAGE_FAILED',
    message: /hyperseaport.*cannot be written \(ENOTDIR\).*XDG_DATA_HOME/
  })
})

for (const [when, greets] of [
  ['before it greeted', false],
  ['after it greeted', true]
] as const) {
  t.test(
    `a prompt says that its peer does not answer, frozen ${when}, and can be stopped`,
    async (t) => {
      const cli = new Cli(t)
      const sockets: Socket[] = []
      const frozen = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
        sockets.push(socket.on('error', () => {}))
        if (greets) socket.write('attached\n')
      }).listen(0, '127.0.0.1')
      t.teardown(() => {
        for (const socket of sockets) socket.destroy()
        frozen.close()
      })
      await once(frozen, 'listening')
      const { port } = frozen.address() as AddressInfo
      cli.write(`data/hyperseaport/control-${port}`, 'secret')
      execFileSync('mkfifo', [cli.path('typed')])
      const typed = await open(cli.path('typed'), 'r+')
      t.teardown(() => typed.close())
      const prompt = cli.start(['peer', '--attach', `127.0.0.1:${port}`], {
        env: { XDG_DATA_HOME: cli.path('data') },
        at: ['sh', '-c', 'exec "$@" < typed', '-']
      })
      if (greets) {
        await prompt.waitForLine('attached')
        await typed.write('peers\n')
      }
      await prompt.waitForTalk(`the peer at 127.0.0.1:${port} does not answer`)
      t.match(await prompt.kill(), { code: 0 })
    }
  )
}
