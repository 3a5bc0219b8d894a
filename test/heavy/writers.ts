import { readFile } from 'node:fs/promises'

/** How often each writes that it is alive, in ms. */
const BEAT_MS = 20

/** A program that appends a line to a file again and again, as long as it lives: who it is, and when that was. */
export function writerTo(file: string): string {
  return `
    const { appendFileSync } = require('node:fs')
    const write = () => appendFileSync(${JSON.stringify(file)}, process.pid + ' ' + Date.now() + '\\n')
    write()
    setInterval(write, ${BEAT_MS})
    require('node:http').createServer((request, response) => response.end('ok')).listen(process.env.PORT, '127.0.0.1')
  `
}

/** Who has written to a file, and from when to when, the first first. */
export async function writersOf(
  file: string
): Promise<{ pid: number; from: number; to: number }[]> {
  const writers = new Map<number, { pid: number; from: number; to: number }>()
  const text = await readFile(file, 'utf8').catch(() => '')
  for (const line of text.split('\n').filter(Boolean)) {
    const [pid = 0, at = 0] = line.split(' ').map(Number)
    const known = writers.get(pid)
    if (known) known.to = at
    else writers.set(pid, { pid, from: at, to: at })
  }
  return [...writers.values()].sort((a, b) => a.from - b.from)
}

/** Pairs of writers that have both written at one time. */
export async function overlapsIn(file: string): Promise<string[]> {
  const writers = await writersOf(file)
  return writers.flatMap((one, i) =>
    writers
      .slice(i + 1)
      .filter(({ from }) => from <= one.to)
      .map(({ pid, from }) => `${pid} wrote ${one.to - from} ms before ${one.pid} had ended`)
  )
}
