import { randomFillSync } from 'node:crypto'
import { statfsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { settled } from '../fleet.js'
import { restWhile } from '../rest.js'
import { AppHarbor } from './app-harbor.js'
import { Disk, noDisk } from './disk.js'

/** By hand: `RELEASES=50 RELEASE_MB=100 DISK_MB=2000`. */
const RELEASES = Number(process.env.RELEASES ?? 12)
const RELEASE_BYTES = Number(process.env.RELEASE_MB ?? 20) * 1e6
const DISK_BYTES = Number(process.env.DISK_MB ?? 340) * 1e6
/** The releases before the wanted one that hosts keep. */
const KEPT = 10
/** Part of the disk that a host leaves free. */
const MIN_FREE = 0.05

t.test(
  'a small disk is enough for one large release after the other, and to go back to each of the last ten',
  { skip: noDisk(), timeout: 1_200_000 },
  async (t) => {
    const harbor = await AppHarbor.make(t)
    await harbor.registry()
    const disk = await Disk.mount(t, harbor.cli, DISK_BYTES)
    const flags = ['--minFree', `${MIN_FREE * 100}%`, '--drainTimeout', '1', '--stopApps']
    const host = harbor.cli.start(['host', '--dir', disk.path, ...flags], { at: disk.at })
    t.teardown(() => host.kill())
    await host.waitForLine('registered host')
    await harbor.web()
    const apps = await harbor.apps()
    const data = Buffer.alloc(RELEASE_BYTES)
    let least = DISK_BYTES
    const look = () => {
      const { bavail, bsize } = statfsSync(disk.outside)
      least = Math.min(least, bavail * bsize)
    }
    const looking = setInterval(look, 100)
    t.teardown(() => clearInterval(looking))
    const answers = (version: string) =>
      restWhile(async () => {
        const { status, body } = await harbor.get('hello.test')
        return status !== 200 || JSON.parse(body).APP_VERSION !== version
      })

    for (let i = 1; i <= RELEASES; i++) {
      const folder = harbor.write({ name: 'hello', version: `${i}.0.0` })
      writeFileSync(`${folder}/data.bin`, randomFillSync(data))
      await apps.run(folder)
      await answers(`${i}.0.0`)
      await settled(apps, 'hello')
    }
    const versions = apps.history('hello').map(({ version }) => version)
    const last = Array.from({ length: KEPT + 1 }, (_, i) => `${RELEASES - i}.0.0`)
    t.same(versions, last)
    for (const version of last.slice(1)) {
      await apps.rollback('hello', version)
      await answers(version)
      await settled(apps, 'hello')
    }
    t.ok(least >= DISK_BYTES * MIN_FREE - RELEASE_BYTES / 10, `${least} bytes were free at least`)
    t.comment(`${Math.round(least / 1e6)} MB were free at least`)
  }
)
