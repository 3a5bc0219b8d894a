import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Fleet } from '../fleet.js'

const skip =
  (process.platform !== 'linux' && 'processes of apps are run on Linux only') ||
  (process.getuid?.() !== 0 && 'only root runs programs as other users')
/** Without what tap adds to Node's options: files in the folder of the clone, which another user may not reach. */
const command = ['env', '-u', 'NODE_OPTIONS', 'node', 'server.js']
/** Tries to read each path that it is asked for, and says who it is. */
const READS = `
  const fs = require('node:fs')
  const tried = (read) => { try { return String(read()) } catch (error) { return error.code } }
  fs.writeFileSync(process.env.HOME + '/secret', 'mine')
  require('node:http').createServer((request, response) => {
    const path = decodeURIComponent(request.url)
    const said = tried(() => fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path))
    const { APP_VERSION, HOME } = process.env
    response.end(JSON.stringify({ pid: process.pid, uid: process.getuid(), HOME, said, APP_VERSION }))
  }).listen(process.env.PORT, '127.0.0.1')`

t.test(
  'where the host is root, each app has a user of its own, and reads nothing of others or of the host',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    const host = await fleet.host('one', { uids: '61000-61001' })
    t.ok(host.abilities.includes('users'))
    const apps = await fleet.apps()
    for (const name of ['one', 'two']) {
      const hostnames = [`${name}.test`]
      await apps.run(
        await fleet.app({ name, version: '1.0.0', hostnames, command }, undefined, READS)
      )
      await fleet.settled(apps, name)
    }
    t.match(apps.hosts(), [{ abilities: host.abilities }], 'hosts shows it')
    const ports = new Map<string, number>()
    for (const name of ['one', 'two']) {
      const { instances } = await apps.status(name)
      ports.set(name, await portOf(instances[0]?.pid ?? 0))
    }
    const [one, two] = [await ask('one', '/'), await ask('two', '/')]
    t.same([one.uid, two.uid].sort(), [61_000, 61_001])
    t.equal((await ask('one', `${one.HOME}/secret`)).said, 'mine')
    t.equal((await ask('two', `${one.HOME}/secret`)).said, 'EACCES')
    t.equal((await stat(`${one.HOME}/secret`)).uid, one.uid)

    const dir = join(one.HOME, '../../../..')
    for (const path of await filesOf(dir)) {
      const isOwn = path.startsWith(one.HOME) || path.includes('/bundles/')
      const isLog = path === join(one.HOME, '../log')
      if (isOwn || isLog) continue
      const { said } = await ask('one', path)
      // A file that takes another's place is there for a moment only.
      if (said !== 'ENOENT' || existsSync(path)) t.equal(said, 'EACCES', path)
    }
    for (const folder of [dir, join(dir, 'instances'), join(dir, 'bundles')]) {
      t.equal((await ask('one', folder)).said, 'EACCES', 'nothing is listed')
    }

    await host.destroy()
    await fleet.host('one', { uids: '61000-61001' })
    await fleet.settled(apps, 'one')
    t.equal((await ask('one', '/')).pid, one.pid)
    await apps.restart('one')
    await fleet.settled(apps, 'one')
    const { instances } = await apps.status('one')
    ports.set('one', await portOf(instances[0]?.pid ?? 0))
    t.equal((await ask('one', '/')).uid, one.uid, 'it is the same user after a restart')

    async function ask(name: string, path: string) {
      const url = `http://127.0.0.1:${ports.get(name)}/`
      const { pathname } = new URL(url)
      const answer = await fetch(`${url.slice(0, -pathname.length)}${encodeURI(path)}`)
      return (await answer.json()) as { pid: number; uid: number; HOME: string; said: string }
    }
  }
)

t.test(
  'setup and before are run as the user of the app, which reads what they made and cannot change it',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    await fleet.host('one', { uids: '61000-61001' })
    const apps = await fleet.apps()
    const made = 'umask 077; id -u > made; mkdir deep; echo deep > deep/file'
    await apps.run(
      await fleet.app(
        {
          ...{ name: 'one', version: '1.0.0', hostnames: ['one.test'], command },
          setup: ['sh', '-c', made],
          before: ['sh', '-c', 'test $(id -u) = 61000 && ! touch made 2>/dev/null']
        },
        undefined,
        `
        const fs = require('node:fs')
        const tried = (what) => { try { return String(what()) } catch (error) { return error.code } }
        const told = {
          made: tried(() => fs.readFileSync('made')),
          deep: tried(() => fs.readFileSync('deep/file')),
          written: tried(() => fs.writeFileSync('deep/file', 'changed'))
        }
        require('node:http').createServer((request, response) => response.end(JSON.stringify(told)))
          .listen(process.env.PORT, '127.0.0.1')`
      )
    )
    await fleet.settled(apps, 'one')
    const { instances } = await apps.status('one')
    const answer = await fetch(`http://127.0.0.1:${await portOf(instances[0]?.pid ?? 0)}/`)
    t.same(await answer.json(), { made: '61000\n', deep: 'deep\n', written: 'EACCES' })
  }
)

t.test('users that make no sense are refused', { skip }, async (t) => {
  const fleet = await Fleet.make(t)
  for (const uids of ['0-10', '61001-61000', 'all', '61000']) {
    await t.rejects(fleet.host('one', { uids }), { code: 'USAGE' }, uids)
  }
})

/** The port that a process was told. */
async function portOf(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8')
  return Number(/(?:^|\0)PORT=(\d+)/.exec(environment)?.[1])
}

async function filesOf(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true })
  return all.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
}
