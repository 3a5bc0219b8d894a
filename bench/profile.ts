/**
 * Says where a CPU profile's time went. Usage: node dist/bench/profile.js FILE.cpuprofile [lines]
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

interface Profile {
  nodes: {
    id: number
    callFrame: { functionName: string; url: string; lineNumber: number }
    children?: number[]
  }[]
  samples: number[]
  timeDeltas: number[]
}

const IDLE = '(idle)'
const DEFAULT_LINES = 30

const [file = '', lines = DEFAULT_LINES] = process.argv.slice(2)
const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
const self = new Map<string, number>()
const byPackage = new Map<string, number>()
let busy = 0
profile.samples.forEach((id, i) => {
  const frame = nodes.get(id)?.callFrame
  const time = profile.timeDeltas[i] ?? 0
  if (!frame || frame.functionName === IDLE) return
  busy += time
  const place = frame.url ? ` ${short(frame.url)}:${frame.lineNumber + 1}` : ''
  add(self, `${frame.functionName || '(anonymous)'}${place}`, time)
  add(byPackage, frame.url ? packageOf(frame.url) : frame.functionName, time)
})

console.log(`${(busy / 1e6).toFixed(1)} s busy`)
for (const [title, shares, count] of [
  ['by package', byPackage, 15],
  ['by function', self, Number(lines)]
] as const) {
  console.log(`\n${title}`)
  const sorted = [...shares].sort(([, a], [, b]) => b - a).slice(0, count)
  for (const [name, time] of sorted) {
    console.log(`${((time / busy) * 100).toFixed(1).padStart(6)} %  ${name}`)
  }
}

function add(shares: Map<string, number>, name: string, time: number) {
  shares.set(name, (shares.get(name) ?? 0) + time)
}

function packageOf(url: string): string {
  if (url.startsWith('node:')) return 'node'
  const [, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? []
  return name ?? `ours, ${basename(url)}`
}

function short(url: string): string {
  return url.startsWith('node:') ? url : url.split('/').slice(-2).join('/')
}
