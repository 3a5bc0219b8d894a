import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { statOf } from '../../lib/hosting/driver/proc.js'
import { whyNoSandbox } from '../../lib/hosting/driver/sandbox.js'
import { Fleet } from '../fleet.js'
import { restWhile } from '../rest.js'

const skip =
  process.platform === 'linux'
    ? ((await whyNoSandbox()) ?? false)
    : 'processes of apps are run on Linux only'
/** Without what tap adds to Node's options: files in the folder of the clone, which are not seen. */
const command = ['env', '-u', 'NODE_OPTIONS', 'node', 'server.js']
/** Tries to read each path that it is asked for. What fleets add would end it: it cannot see this process. */
const READS = `
  const fs = require('node:fs')
  const tried = (what) => { try { return String(what()) } catch (error) { return error.code } }
  const made = tried(() => fs.readFileSync('made'))
  const written = tried(() => fs.writeFileSync('new', ''))
  fs.appendFileSync(process.env.HOME + '/starts', 'x')
  require('node:http').createServer((request, response) => {
    const paths = request.method === 'POST' ? [] : ['/', process.env.HOME, HOST]
    const said = paths.map((path) => tried(() => fs.readdirSync(path)))
    const { APP_VERSION, HOME } = process.env
    const starts = tried(() => fs.readFileSync(HOME + '/starts'))
    response.end(JSON.stringify({ APP_VERSION, made, written, said, starts }))
  }).listen(process.env.PORT, '127.0.0.1')`

t.test(
  'an app that asks for a sandbox runs shut in, where there is one, and goes on as any other',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    await fleet.host('plain', { drivers: ['process'] })
    let shut = await fleet.host('shut', { drivers: ['bubblewrap'] })
    t.same([...shut.drivers], ['bubblewrap'])
    const apps = await fleet.apps()
    const web = await fleet.web()
    const host = await fleet.dirOf('shut')
    const fields = { setup: 'echo made > made', before: 'cat made && ! touch new' }
    const folder = await fleet.app({ version: '1.0.0', sandbox: true, command, ...fields })
    await writeFile(join(folder, 'server.js'), `const HOST = ${JSON.stringify(host)}\n${READS}`)
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    const first = await instanceOf()
    t.equal(first.hostName, 'shut')
    t.match((await apps.status('hello')).refusals, { plain: /no bubblewrap/ })
    const { body } = await fleet.answered(web, 'hello.test', 200, '1.0.0')
    t.match(body, { made: 'made\n', written: 'EROFS', starts: 'x' })
    const [root, home, ofHost] = body.said
    for (const name of ['root', 'home', 'var/lib']) t.notOk(root.split(',').includes(name))
    t.equal(home, 'starts')
    t.same(ofHost.split(',').sort(), ['bundles', 'instances'], 'nothing else of the host')

    await shut.destroy()
    shut = await fleet.host('shut', { drivers: ['bubblewrap'] })
    await fleet.settled(apps, 'hello')
    t.equal((await instanceOf()).pid, first.pid, 'it was found again')
    process.kill(first.pid ?? 0, 'SIGKILL')
    await restWhile(async () => {
      const { pid, state } = await instanceOf()
      return pid === null || pid === first.pid || state !== 'passing'
    })
    await restWhile(async () => (await fleet.get(web, 'hello.test')).status !== 200)
    t.match(await fleet.get(web, 'hello.test'), { body: { starts: 'xx' } }, 'it was started again')

    // Without a sandbox it runs elsewhere, and goes back there with the release before.
    await fleet.app({ version: '2.0.0' }, folder)
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    t.equal((await instanceOf()).hostName, 'plain')
    t.match((await apps.status('hello')).refusals, { shut: /no driver process/ })
    await apps.rollback('hello')
    await fleet.settled(apps, 'hello')
    const back = await instanceOf()
    t.equal(back.hostName, 'shut')
    await apps.remove('hello')
    await restWhile(async () => (await statOf(back.pid ?? 0)) !== null)

    async function instanceOf() {
      const [one] = (await apps.status('hello')).instances
      if (!one) throw new Error('there is none')
      return one
    }
  }
)
