import { eachRun, type Row, record } from '../stage.js'

const BYTES_PER_MB = 1e6
const TIMEOUT_MS = 300_000

/** One connection that moves as much as it can. */
export const bulk: Row = {
  name: 'bulk',
  title: 'Bulk, one stream',
  metrics: {
    up: { title: 'up', unit: 'MB/s', better: 'more' },
    down: { title: 'down', unit: 'MB/s', better: 'more' }
  },

  async run(stage) {
    const { island, options } = stage
    const size = options.size.bulk
    stage.results.note(`Bulk: ${size} MB each way`)
    for (const direction of ['up', 'down']) {
      await eachRun(stage, stage.standing, async ({ kind, near }) => {
        const child = island.actor('load-bulk', [near.port, direction, size * BYTES_PER_MB])
        const { seconds } = await child.report<{ seconds: number }>(TIMEOUT_MS)
        record(stage, bulk, kind, { [direction]: size / seconds })
      })
    }
  }
}
