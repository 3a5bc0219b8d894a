import type { Result } from './results.js'

/**
 * Writes a row's results as Markdown: a table for each metric that has baselines, and one for all that
 * have none, or need none. A ratio is how many times better (or 0.5: half as good), whichever way better is.
 */
export function tables(title: string, results: Result[], baselines: string[]): string {
  const parts = [`## ${title}`]
  const lone: Result[] = []
  for (const group of groups(results)) {
    const known = group.filter(({ path }) => baselines.includes(path))
    if (known.length > 0) parts.push(comparison(group, known))
    else lone.push(...group)
  }
  if (lone.length > 0) parts.push(list(lone))
  return parts.join('\n\n')
}

function comparison(group: Result[], baselines: Result[]): string {
  const [{ title, unit } = { title: '', unit: '' }] = group
  const head = [
    `${title} (${unit})`,
    'median',
    'min–max',
    ...baselines.map(({ path }) => `× ${path}`)
  ]
  const rows = group.map((result) => [
    result.path,
    format(result.median),
    `${format(result.min)}–${format(result.max)}`,
    ...baselines.map((baseline) => ratio(result, baseline).toFixed(2))
  ])
  return table(head, rows)
}

function list(results: Result[]): string {
  const paths = [...new Set(results.map(({ path }) => path))]
  const isOnce = results.every(({ samples }) => samples.length === 1)
  const columns = (cell: string, range: string) => (isOnce ? [cell] : [cell, range])
  const head = ['', ...paths.flatMap((path) => columns(path, 'min–max'))]
  const rows = groups(results).map((group) => [
    `${group[0]?.title}${group[0]?.unit ? ` (${group[0].unit})` : ''}`,
    ...paths.flatMap((path) => {
      const result = group.find((one) => one.path === path)
      return result
        ? columns(format(result.median), `${format(result.min)}–${format(result.max)}`)
        : columns('', '')
    })
  ])
  return table(head, rows)
}

/** How many times better than a baseline. */
export function ratio(result: Result, baseline: Result): number {
  return result.better === 'more'
    ? result.median / baseline.median
    : baseline.median / result.median
}

/** Three digits, and no more than are known. */
export function format(value: number): string {
  if (value === 0) return '0'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

function groups(results: Result[]): Result[][] {
  const metrics = [...new Set(results.map(({ metric }) => metric))]
  return metrics.map((metric) => results.filter((result) => result.metric === metric))
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0), 3)
  )
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => pad(cell, widths[i] ?? 0, i)).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}
