/** Numbers for Prometheus: to collect them, and to serve them. */
export {
  type Measures,
  MetricsServer,
  measuresOf,
  measuresOfInstances,
  measuresOfLogs
} from './core/metrics.js'
