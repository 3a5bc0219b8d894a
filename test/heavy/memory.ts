import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'

const PIECE_BYTES = 1 << 20

/** Whether a process has a text anywhere in what it may write to: all that a core dump of it would have. */
export function memoryHas(pid: number, text: string): boolean {
  const wanted = Buffer.from(text)
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
    return maps.some((line) => {
      const [, from = '0', to = '0', mode = ''] = /^(\w+)-(\w+) (\S+)/.exec(line) ?? []
      if (!mode.startsWith('rw') || line.includes('[vvar')) return false
      return rangeHas(memory, BigInt(`0x${from}`), BigInt(`0x${to}`), wanted)
    })
  } finally {
    closeSync(memory)
  }
}

/** Whether any file in a folder has these bytes. */
export function folderHas(folder: string, bytes: Buffer): boolean {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some(({ parentPath, name }) => readFileSync(join(parentPath, name)).includes(bytes))
}

function rangeHas(memory: number, from: bigint, to: bigint, wanted: Buffer): boolean {
  const piece = Buffer.alloc(PIECE_BYTES)
  for (let at = from; at < to; at += BigInt(piece.length - wanted.length)) {
    const length = Number(to - at < BigInt(piece.length) ? to - at : BigInt(piece.length))
    try {
      const read = readSync(memory, piece, 0, length, at)
      if (piece.subarray(0, read).includes(wanted)) return true
    } catch {
      // Not all of what is reserved is there.
    }
  }
  return false
}
