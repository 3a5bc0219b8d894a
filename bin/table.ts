import { printable } from '../lib/printing.js'

/** Columns wide enough for what is in them, which others may have written. */
export function table(cells: string[][]): string {
  const rows = cells.map((row) => row.map(printable))
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => row[i]?.length ?? 0))
  )
  return rows
    .map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}
