import { seaportUdx } from '../paths/seaport.js'
import { type Row, record } from '../stage.js'
import { percentile } from '../statistics.js'

const TIMEOUT_MS = 120_000

interface Moment {
  key: string
  began: number
  confirmed: number
  left: number
}

interface Seen {
  key: string
  change: string
  at: number
}

/** How long it takes until a process sees what another has registered, or taken back. */
export const visible: Row = {
  name: 'visible',
  title: 'Register → visible at another process',
  metrics: {
    confirmed50: { title: 'confirmed by the registrar, p50', unit: 'ms', better: 'less' },
    confirmed99: { title: 'confirmed by the registrar, p99', unit: 'ms', better: 'less' },
    visible50: { title: 'visible, p50', unit: 'ms', better: 'less' },
    visible99: { title: 'visible, p99', unit: 'ms', better: 'less' },
    gone50: { title: 'withdrawn → gone, p50', unit: 'ms', better: 'less' },
    gone99: { title: 'withdrawn → gone, p99', unit: 'ms', better: 'less' }
  },

  async run(stage) {
    const { island, options, results } = stage
    for (let run = 0; run < options.runs; run++) {
      const where = [island.bootstrap, island.registryPublicKey]
      const watcher = island.actor('watcher', [...where, island.folder()])
      await watcher.waitForLine('watching')
      const count = options.size.registrations
      const registrant = island.actor('registrant', [...where, island.folder(), count])
      const moments = await registrant.report<Moment[]>(TIMEOUT_MS)
      watcher.finish()
      const seen = await watcher.report<Seen[]>()
      const at = (key: string, change: string) =>
        seen.find((one) => one.key === key && one.change === change)?.at ?? Number.NaN

      const missed = moments.filter(({ key }) => Number.isNaN(at(key, 'up'))).length
      if (missed > 0) results.note(`${missed} of ${count} registrations were never seen`)
      record(stage, visible, seaportUdx, {
        ...percentiles(
          'confirmed',
          moments.map(({ began, confirmed }) => confirmed - began)
        ),
        ...percentiles(
          'visible',
          moments.map(({ key, began }) => at(key, 'up') - began)
        ),
        ...percentiles(
          'gone',
          moments.map(({ key, left }) => at(key, 'down') - left)
        )
      })
    }
  }
}

function percentiles(name: string, times: number[]): Record<string, number> {
  const known = times.filter((time) => !Number.isNaN(time))
  return { [`${name}50`]: percentile(known, 0.5), [`${name}99`]: percentile(known, 0.99) }
}
