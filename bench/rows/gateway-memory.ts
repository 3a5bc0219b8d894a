import { loadHttp } from '../http-load.js'
import { web } from '../paths/web.js'
import { type Row, record } from '../stage.js'
import { Usage } from '../usage.js'

const CLIENTS = 32
const PARTS = 10

/** What the web gateway holds while requests come and go, read after each tenth of them. */
export const gatewayMemory: Row = {
  name: 'gateway-memory',
  title: 'Memory of the web gateway (RSS)',
  isList: true,
  metrics: {
    requests: { title: 'requests', unit: '', better: 'more' },
    errors: { title: 'errors', unit: '', better: 'less' },
    first: { title: 'after the first tenth', unit: 'MiB', better: 'less' },
    half: { title: 'after half', unit: 'MiB', better: 'less' },
    last: { title: 'after all', unit: 'MiB', better: 'less' },
    most: { title: 'most', unit: 'MiB', better: 'less' }
  },

  async run(stage) {
    const { island, options, backend } = stage
    const path = await web.open(island, backend.port)
    const near = await path.near()
    const usage = new Usage(near.child?.pid ?? 0)
    const readings: number[] = []
    let requests = 0
    let errors = 0
    usage.resetPeak()
    while (requests < options.size.gatewayRequests) {
      const seconds = 2
      const load = await loadHttp(island, {
        ...near,
        clients: CLIENTS,
        seconds,
        connection: 'keep'
      })
      requests += Math.round(load.rate * seconds)
      errors += load.errors
      if (requests >= ((readings.length + 1) / PARTS) * options.size.gatewayRequests)
        readings.push(usage.rss)
    }
    const [first = Number.NaN] = readings
    const half = readings[readings.length >> 1] ?? Number.NaN
    const last = readings.at(-1) ?? Number.NaN
    record(stage, gatewayMemory, web, { requests, errors, first, half, last, most: usage.peak })
    await near.stop()
    await path.close()
  }
}
