import t from 'tap'
import { answered, islandOf, list, preparedFor } from '../bin/island.js'
import { Disk, noDisk } from './disk.js'

const IN_MEMORY = /^STORAGE_FAILED: .*it works in memory, and keeps nothing/m
const skip = noDisk()

t.test(
  'a registry on a disk that fills goes on, and writes again once there is room',
  { skip },
  async (t) => {
    const { cli, start } = await preparedFor(t)
    const disk = await Disk.mount(t, cli)
    const line = ['registry', '--dir', disk.path]
    const registry = cli.start(line, { at: disk.at })
    await registry.waitForLine('registryPublicKey=')
    const leaving = await start.instance('a@1.0.0')
    disk.fill()
    const coming = start.instance('b@1.0.0')
    await registry.waitForMatch(
      /^STORAGE_FAILED: .*Until it can be used again nothing is registered/
    )
    t.match(await list(cli), [{ role: 'a' }], 'a newcomer lists what is kept')
    await leaving.destroy()
    disk.empty()
    await coming
    await registry.waitForMatch(/the log is written again/)
    while ((await list(cli)).some(({ role }) => role === 'a'));
    t.match(await registry.kill('SIGTERM'), { code: 0 })

    const again = cli.start(line, { at: disk.at })
    await again.waitForLine('registryPublicKey=')
    while (!(await list(cli)).some(({ role, live }) => role === 'b' && live));
    t.match(await again.kill('SIGTERM'), { code: 0 }, 'the folder is as good as before')
  }
)

t.test(
  'a service on a disk that fills goes on under its key, and keeps things once there is room',
  { skip },
  async (t) => {
    const { cli, start } = await islandOf(t)
    const disk = await Disk.mount(t, cli)
    const line = ['service', '-p', `${start.port}`, '-r', 'a@1.0.0', '--dir', disk.path]
    const run = async () => {
      const service = cli.start(line, { at: disk.at })
      await service.waitForLine('registered service')
      return service
    }
    const key = async () =>
      (await list(cli)).find(({ role, status }) => role === 'a' && status === 'passing')
        ?.servicePublicKey
    const filling = await run()
    const own = await key()
    t.ok(own)
    disk.fill()
    await start.instance('b@1.0.0')
    await filling.waitForMatch(IN_MEMORY)
    const { proxy, port } = await start.proxy('a@1.x')
    t.equal(await answered(port), 'hello', 'newcomers reach it')
    await proxy.kill('SIGTERM')
    t.match(await filling.kill('SIGTERM'), { code: 0 })

    disk.fill()
    const full = await run()
    t.equal(await key(), own, 'it starts on a full disk, too')
    t.match(await full.kill('SIGTERM'), { code: 0, stderr: IN_MEMORY })

    disk.empty()
    const roomy = await run()
    t.equal(await key(), own)
    const { code, stderr } = await roomy.kill('SIGTERM')
    t.equal(code, 0)
    t.notMatch(stderr, IN_MEMORY)
  }
)

/** A disk of its own in a namespace of mounts, which ends with the test, however that ends. */
