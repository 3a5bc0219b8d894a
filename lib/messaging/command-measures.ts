import type { Measure } from '../core/metrics.js'
import type { Commands } from './commands.js'

const COUNTERS = [
  ['calls', 'Commands that were answered, failed or given up'],
  ['failed', 'Commands whose handler failed'],
  ['cancelled', 'Commands that ended before they were done'],
  ['busy', 'Commands that were turned away because too many ran'],
  ['running', 'Commands that run now'],
  ['waiting', 'Commands that wait for their turn']
] as const
const GAUGES = new Set<string>(['running', 'waiting'])

/** The counters of each command as metrics. */
export function* commandMeasures(commands: ReturnType<Commands['getStats']>): Iterable<Measure> {
  for (const [command, stats] of Object.entries(commands)) {
    const labels = { command }
    for (const [field, help] of COUNTERS) {
      const type = GAUGES.has(field) ? 'gauge' : 'counter'
      yield {
        name: `hyperseaport_service_command_${field}`,
        help,
        type,
        labels,
        value: stats[field]
      }
    }
    yield {
      name: 'hyperseaport_service_command_latency_seconds',
      help: 'Until a command was answered, its wait included',
      type: 'histogram',
      labels,
      value: stats.latency
    }
  }
}
