import type { Measures } from '../lib/metrics.js'
import type { Flag } from './declaration.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'
import { say } from './talk.js'

export const METRICS_FLAG = {
  describe: 'Port on loopback to serve /metrics on, for Prometheus; 0 for a free one'
} satisfies Flag

/**
 * Finds a wrong port before anything is started.
 *
 * @throws USAGE
 */
export function checkMetricsFlag(settings: Settings): number | null {
  return settings.listenPort('metrics', null)
}

/** Serves the numbers, if that was asked for. */
export async function serveMetrics(settings: Settings, lifetime: Lifetime, measures: Measures) {
  const port = checkMetricsFlag(settings)
  if (port === null) return
  const { MetricsServer } = await import('../lib/metrics.js')
  const server = lifetime.own(new MetricsServer({ port, measures }))
  server.on('notice', (notice: Error) => say(notice.message))
  await server.setup()
  console.log(`metrics on http://127.0.0.1:${server.port}/metrics`)
}
