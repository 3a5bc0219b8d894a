/**
 * Draws the results as bars. Usage: node dist/bench/plot.js [results.json [plot.svg]]
 */
import { readFileSync, writeFileSync } from 'node:fs'
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
  { row: 'crowd', metric: 'time', title: '100 connections at once, ms (less is better)' }
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
const [
  source = resolve(root, 'bench/results/latest.json'),
  target = resolve(root, 'docs/bench.svg')
] = process.argv.slice(2)
writeFileSync(target, draw(JSON.parse(readFileSync(source, 'utf8')) as Report))

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
<title>hyperseaport beside direct TCP, a bare HyperDHT pipe and ssh -L</title>
<style>${STYLE}
</style>
${drawn.join('\n')}
<text class="note" x="${MARGIN}" y="${total - MARGIN}">${quoted(describe(machine))}; medians, lines from min to max</text>
</svg>
`
}

function drawPanel(title: string, bars: Result[]): string {
  const scale = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / Math.max(...bars.map(({ max }) => max))
  const lines = bars.map(({ path, median, min, max }, i) => {
    const y = PANEL_HEAD + i * BAR_STEP
    const kind = path.startsWith('hyperseaport') ? 'ours' : 'base'
    const end = LABEL_WIDTH + max * scale
    const middle = y + BAR_HEIGHT / 2
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 11}" text-anchor="end">${quoted(path)}</text>`,
      `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${(median * scale).toFixed(1)}" height="${BAR_HEIGHT}"/>`,
      `<path stroke="currentColor" stroke-opacity=".5" d="M${(LABEL_WIDTH + min * scale).toFixed(1)} ${middle}H${end.toFixed(1)}"/>`,
      `<text x="${(end + 6).toFixed(1)}" y="${y + 11}">${format(median)}</text>`
    ].join('')
  })
  return [`<text class="title" y="14">${quoted(title)}</text>`, ...lines].join('\n')
}

function quoted(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
