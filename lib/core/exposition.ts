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

/** The label that says up to where a bucket counts. */
const LIMIT = 'le'
const OPEN_METRICS: Format = {
  contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  isOpenMetrics: true
}
const PLAIN: Format = {
  contentType: 'text/plain; version=0.0.4; charset=utf-8',
  isOpenMetrics: false
}

/**
 * Which of the two text formats a scraper takes: OpenMetrics if its `Accept` names that and weighs it no less than
 * Prometheus' plain one, else the plain one.
 */
export function formatFor(accept = ''): Format {
  const weight = weightIn(accept, 'application/openmetrics-text')
  return weight > 0 && weight >= weightIn(accept, 'text/plain') ? OPEN_METRICS : PLAIN
}

/** Which weight a media type is given, 0 if it is not named (RFC 9110 §12.5.1). */
function weightIn(accept: string, mediaType: string): number {
  const weights = accept
    .toLowerCase()
    .split(',')
    .flatMap((part) => {
      const [name, ...parameters] = part.split(';').map((text) => text.trim())
      if (name !== mediaType) return []
      const given = parameters.find((parameter) => /^q\s*=/.test(parameter))
      const weight = given === undefined ? 1 : Number(given.replace(/^q\s*=\s*/, ''))
      return Number.isFinite(weight) ? [weight] : []
    })
  return Math.max(0, ...weights)
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
      lines.push(`${name}${total}${suffix}${listed(labels, isOpenMetrics)} ${shown(value)}`)
    }
  }
  if (isOpenMetrics) lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function listed(labels: Sample['labels'], isOpenMetrics: boolean): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const text = name === LIMIT ? limit(Number(value), isOpenMetrics) : String(value)
    return `${name}="${escaped(text).replaceAll('"', '\\"')}"`
  })
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** How a bucket's limit is written. OpenMetrics wants a float, `1.0`, where the plain format has always had `1`. */
function limit(value: number, isOpenMetrics: boolean): string {
  return isOpenMetrics && Number.isInteger(value) ? value.toFixed(1) : shown(value)
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function shown(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}
