import { eachRun, type Row, record } from '../stage.js'
import { median, percentile } from '../statistics.js'

const CONNECTIONS = 500
const WARM_UP_CONNECTIONS = 100

interface Report {
  latencies: number[]
  errors: number
}

/** A new connection that echoes one byte: one after the other, and the first of a fresh near end. */
export const latency: Row = {
  name: 'latency',
  title: 'Connect and echo a byte',
  metrics: {
    p50: { title: 'warm, p50', unit: 'ms', better: 'less' },
    p99: { title: 'warm, p99', unit: 'ms', better: 'less' },
    cold: { title: 'the first of a fresh near end', unit: 'ms', better: 'less' }
  },

  async run(stage) {
    const { island, options } = stage
    await eachRun(stage, stage.standing, async ({ kind, near }) => {
      const child = island.actor('load-echo', [near.port, WARM_UP_CONNECTIONS + CONNECTIONS, 1])
      const { latencies } = await child.report<Report>()
      const warm = latencies.slice(WARM_UP_CONNECTIONS)
      record(stage, latency, kind, { p50: percentile(warm, 0.5), p99: percentile(warm, 0.99) })
    })
    const fresh = stage.standing.filter(({ near }) => near.child)
    await eachRun(stage, fresh, async ({ kind, path }) => {
      const times: number[] = []
      for (let i = 0; i < options.size.cold; i++) {
        const near = await path.near()
        const child = island.actor('load-echo', [near.port, 1, 1])
        times.push(...(await child.report<Report>()).latencies)
        await near.stop()
      }
      record(stage, latency, kind, { cold: median(times) })
    })
  }
}
