import { eachRun, type Row, record } from '../stage.js'
import { median } from '../statistics.js'

const CONNECTIONS = 100
const ROUNDS = 7

/** Many who come at once. */
export const crowd: Row = {
  name: 'crowd',
  title: `${CONNECTIONS} connections at once`,
  metrics: {
    time: { title: 'until all have echoed a byte', unit: 'ms', better: 'less' }
  },

  async run(stage) {
    await eachRun(stage, stage.standing, async ({ kind, near }) => {
      const child = stage.island.actor('load-crowd', [near.port, CONNECTIONS, ROUNDS])
      const { times, errors } = await child.report<{ times: number[]; errors: number }>()
      if (errors > 0) stage.results.note(`${kind.name}: ${errors} of a crowd had no answer`)
      record(stage, crowd, kind, { time: median(times) })
    })
  }
}
