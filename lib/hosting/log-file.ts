import { open } from 'node:fs/promises'
import { printable } from '../core/printable.js'

/** So much of the end of a log is read for its last lines. */
const TAIL_BYTES = 256 * 1024

/**
 * The lines of a log from a place on that an earlier read has told, or those at its end. Whatever the app wrote, a
 * terminal can show them.
 *
 * @returns whole lines, and the place behind them
 */
export async function readLog(
  file: string,
  from: number | null
): Promise<{ lines: string[]; next: number }> {
  const handle = await open(file, 'r').catch(() => null)
  if (!handle) return { lines: [], next: from ?? 0 }
  try {
    const { size } = await handle.stat()
    // A log that is shorter than before was begun anew.
    const start = from !== null && from <= size ? from : Math.max(0, size - TAIL_BYTES)
    const bytes = Buffer.alloc(Math.min(size - start, TAIL_BYTES))
    const { bytesRead } = await handle.read(bytes, 0, bytes.byteLength, start)
    const text = bytes.subarray(0, bytesRead)
    const end = text.lastIndexOf(10) + 1
    const lines = text.subarray(0, end).toString('utf8').split('\n').slice(0, -1)
    return { lines: lines.map(printable), next: start + end }
  } finally {
    await handle.close()
  }
}
