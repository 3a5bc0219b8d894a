/**
 * Draws the results as bars: those of `bench` and of `bench:scale`, as far as they are there.
 * Usage: node dist/bench/plot.js [results.json [plot.svg]]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, type Machine } from './machine.js'
import type { Result } from './results.js'
import { format } from './tables.js'

interface Report {
  machine: Machine
  results: Result[]
}

interface Panel {
  row: string
  metric: string
  title: string
}

const PANELS: Panel[] = [
  { row: 'keep-alive', metric: 'rate', title: 'HTTP keep-alive, requests/s' },
  { row: 'per-request', metric: 'rate', title: 'HTTP, connection per request, requests/s' },
  { row: 'bulk', metric: 'down', title: 'Bulk down, MB/s' },
  { row: 'bulk', metric: 'up', title: 'Bulk up, MB/s' },
  { row: 'latency', metric: 'p50', title: 'Connect and echo, p50 in ms (less is better)' },
  { row: 'crowd', metric: 'time', title: '100 connections at once, ms (less is better)' },
  { row: 'scale', metric: 'rate', title: 'Registrations/s, 32 in flight' },
  { row: 'scale', metric: 'rss', title: "The registrar's memory, MiB" },
  { row: 'scale', metric: 'ready', title: 'A newcomer knows all, ms' },
  { row: 'scale', metric: 'restart', title: 'Registrar killed, started and found again, ms' },
  { row: 'scale', metric: 'resolve', title: 'Resolve, p50 in µs' },
  { row: 'scale', metric: 'visible99', title: 'One more is visible at another process, p99 in ms' }
]
const FILES = [
  ['bench/results/latest.json', 'docs/bench.svg'],
  ['bench/results/scale.json', 'docs/scale.svg']
]
const COLUMNS = 2
const PANEL_WIDTH = 430
const LABEL_WIDTH = 140
const VALUE_WIDTH = 60
const BAR_HEIGHT = 14
const BAR_STEP = 20
const PANEL_HEAD = 28
const MARGIN = 16
const GAP = 24

// GitHub shows it as an image: it takes the reader's colour scheme, but no fonts.
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { font-size: 10px; fill: #656d76 }
  .base { fill: #afb8c1 }
  .ours { fill: #2f6fdb }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #8d96a0 }
    .base { fill: #57606a }
    .ours { fill: #5c9bff }
  }`

const root = resolve(import.meta.dirname, '../..')
const asked = process.argv.slice(2)
const there = FILES.filter(([source = '']) => existsSync(resolve(root, source)))
for (const [source = '', target = 'docs/bench.svg'] of asked.length > 0 ? [asked] : there) {
  const report = JSON.parse(readFileSync(resolve(root, source), 'utf8')) as Report
  writeFileSync(resolve(root, target), draw(report))
}

function draw({ machine, results }: Report): string {
  const panels = PANELS.map((panel) => ({
    ...panel,
    bars: results.filter(({ row, metric }) => row === panel.row && metric === panel.metric)
  })).filter(({ bars }) => bars.length > 0)
  const height = PANEL_HEAD + Math.max(...panels.map(({ bars }) => bars.length)) * BAR_STEP + GAP
  const rows = Math.ceil(panels.length / COLUMNS)
  const width = 2 * MARGIN + COLUMNS * PANEL_WIDTH + (COLUMNS - 1) * GAP
  const total = 2 * MARGIN + rows * height + 12
  const drawn = panels.map(({ title, bars }, i) => {
    const x = MARGIN + (i % COLUMNS) * (PANEL_WIDTH + GAP)
    const y = MARGIN + Math.floor(i / COLUMNS) * height
    return `<g transform="translate(${x} ${y})">\n${drawPanel(title, bars)}\n</g>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" width="${width}" height="${total}" role="img">
<title>${panels.map(({ title }) => quoted(title)).join('; ')}</title>
<style>${STYLE}
</style>
${drawn.join('\n')}
<text class="note" x="${MARGIN}" y="${total - MARGIN}">${quoted(describe(machine))}; medians, lines from min to max</text>
</svg>
`
}

function drawPanel(title: string, bars: Result[]): string {
  const scale = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / Math.max(...bars.map(({ max }) => max))
  const lines = bars.map(({ row, path, median, min, max }, i) => {
    const y = PANEL_HEAD + i * BAR_STEP
    const isOurs = row === 'scale' || path.startsWith('hyperseaport')
    const end = LABEL_WIDTH + max * scale
    const middle = y + BAR_HEIGHT / 2
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 11}" text-anchor="end">${quoted(label(row, path))}</text>`,
      `<rect class="${isOurs ? 'ours' : 'base'}" x="${LABEL_WIDTH}" y="${y}" width="${(median * scale).toFixed(1)}" height="${BAR_HEIGHT}"/>`,
      `<path stroke="currentColor" stroke-opacity=".5" d="M${(LABEL_WIDTH + min * scale).toFixed(1)} ${middle}H${end.toFixed(1)}"/>`,
      `<text x="${(end + 6).toFixed(1)}" y="${y + 11}">${format(median)}</text>`
    ].join('')
  })
  return [`<text class="title" y="14">${quoted(title)}</text>`, ...lines].join('\n')
}

function label(row: string, path: string): string {
  return row === 'scale' ? `${format(Number(path))} records` : path
}

function quoted(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
