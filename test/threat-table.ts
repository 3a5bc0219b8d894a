import { readFile } from 'node:fs/promises'

const DOCUMENT = new URL('../../docs/threat-model.md', import.meta.url)

/** The table under a heading of docs/threat-model.md: what its cells say, by row and column. */
export async function tableOf(heading: string): Promise<Map<string, Record<string, string>>> {
  const text = await readFile(DOCUMENT, 'utf8')
  const [, rest = ''] = text.split(`\n### ${heading}\n`)
  const [head, , ...rows] = (/(?:^\|.*\|\n)+/m.exec(rest)?.[0] ?? '')
    .trim()
    .split('\n')
    .map((line) => line.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim().replaceAll('`', '')))
  const columns = head?.slice(1) ?? []
  const entries = rows.map(([who = '', ...cells]) => {
    const row = Object.fromEntries(columns.map((column, i) => [column, cells[i] ?? '']))
    return [who, row] as const
  })
  return new Map(entries)
}
