import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { AppUses } from '../../lib/hosting/app-uses.js'
import { Service } from '../../lib/index.js'
import { Fleet } from '../fleet.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
/** Answers with what the database says. */
const ASKS = `
  require('node:http').createServer(async (request, response) => {
    const { DB_URL, APP_VERSION } = process.env
    const said = await fetch(DB_URL).then((answer) => answer.text(), String)
    response.end(JSON.stringify({ pid: process.pid, said, DB_URL, APP_VERSION, seen: Object.keys(process.env) }))
  }).listen(process.env.PORT, '127.0.0.1')`
/** Fails if it does not hear what the database says. */
const ASKS_ONCE = `fetch(process.env.DB_URL)
  .then((answer) => answer.text())
  .then((said) => process.exit(said === 'from the database' ? 0 : 1))`

t.test(
  'an app reaches what its file says that it uses, through its host, as does what runs before it',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    const { registryPublicKey } = fleet.registry
    const { bootstrap } = fleet.testbed
    const member = { registryPublicKey, bootstrap, dir: await fleet.testbed.dir() }
    const server = createServer((_, response) => response.end('from the database'))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as { port: number }
    const database = Service({ ...member, role: 'db@3.1.0', port })
    t.teardown(() => database.destroy())
    await database.setup()

    let host = await fleet.host()
    const apps = await fleet.apps()
    const web = await fleet.web()
    const file = { version: '1.0.0', uses: ['db@3.x'], before: 'node before.cjs' }
    const folder = await fleet.app(file, undefined, ASKS)
    await writeFile(join(folder, 'before.cjs'), ASKS_ONCE)
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    const one = await said()
    t.match(one.DB_URL, /^http:\/\/127\.0\.0\.1:\d+$/)
    t.notOk(
      one.seen.some((name: string) => /hyperseaport|seed|key/i.test(name)),
      'it has no key'
    )

    await host.destroy()
    host = await fleet.host()
    await fleet.settled(apps, 'hello')
    t.match(
      await said(),
      { pid: one.pid, DB_URL: one.DB_URL },
      'after its host was started again, too'
    )

    // Somebody else has the port by the time that the host is back.
    await host.destroy()
    const stranger = createTcpServer((socket) => socket.destroy())
    await once(stranger.listen(Number(new URL(one.DB_URL).port), '127.0.0.1'), 'listening')
    t.teardown(() => stranger.close())
    await fleet.host()
    await fleet.settled(apps, 'hello')
    const moved = await said()
    t.not(moved.DB_URL, one.DB_URL, 'it was started anew, with another port')
    t.not(moved.pid, one.pid)

    const dir = await fleet.testbed.dir()
    const options = { file: join(dir, 'uses.json'), member, ontrouble: () => {} }
    const refused = AppUses.open({
      ...options,
      member: { ...member, registryPublicKey: Buffer.from(registryPublicKey, 'hex') },
      uses: ['db@3.x'],
      mayUse: () => false
    })
    await t.rejects(refused, { code: 'NOT_GRANTED' }, 'not if its deployer may not consume it')

    async function said() {
      for (;;) {
        const { status, body } = await fleet.get(web, 'hello.test')
        if (status === 200 && body.said === 'from the database') return body
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
)
