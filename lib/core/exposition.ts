/** One line of a family: what is behind the family's name, its labels and its value. */
export interface Sample {
  suffix: '' | '_bucket' | '_sum' | '_count'
  labels: Record<string, string | number>
  value: number
}

/** Numbers of one name. A counter's has no `_total`: each format puts it where it belongs. */
export interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  samples: Sample[]
}

interface Format {
  contentType: string
  /** Whether a counter's family is named without `_total`, and `# EOF` ends the text. */
  isOpenMetrics: boolean
}

const OPEN_METRICS: Format = {
  contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  isOpenMetrics: true
}
const PLAIN: Format = {
  contentType: 'text/plain; version=0.0.4; charset=utf-8',
  isOpenMetrics: false
}

/** Which of the two text formats a scraper takes: OpenMetrics if its `Accept` names it, else Prometheus' plain one. */
export function formatFor(accept = ''): Format {
  return /application\/openmetrics-text(?![^,]*;\s*q=0(?:\.0*)?\s*(?:[,;]|$))/i.test(accept)
    ? OPEN_METRICS
    : PLAIN
}

/**
 * The families as text.
 *
 * Sources: prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0.
 */
export function expose(families: Iterable<Family>, { isOpenMetrics }: Format): string {
  const lines: string[] = []
  for (const { name, help, type, samples } of families) {
    const total = type === 'counter' ? '_total' : ''
    const family = isOpenMetrics ? name : `${name}${total}`
    lines.push(`# HELP ${family} ${escaped(help)}`, `# TYPE ${family} ${type}`)
    for (const { suffix, labels, value } of samples) {
      lines.push(`${name}${total}${suffix}${listed(labels)} ${shown(value)}`)
    }
  }
  if (isOpenMetrics) lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function listed(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(String(value)).replaceAll('"', '\\"')}"`
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function shown(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}
