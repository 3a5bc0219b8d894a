import { closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { devNull } from 'node:os'

const MIB = 1024 * 1024
/** More than any config file, seed, key or certificate has. */
const MAX_BYTES = MIB
const PIECE_BYTES = 64 * 1024
/** How long nothing may come from a pipe, in ms: while it is waited for, no signal is heard. */
const SILENCE_MS = 30_000
const POLL_MS = 20

export interface SmallFileOptions {
  maxBytes?: number
  /** How long nothing may come from a pipe, in ms. */
  silence?: number
}

/**
 * Reads a file, or a pipe, that somebody has named. A device might have no end, and nothing else is done until it is
 * read; only the one that is always empty is taken. Nor is the writer of a pipe waited for without end.
 */
export function readSmallFile(
  path: string,
  { maxBytes = MAX_BYTES, silence = SILENCE_MS }: SmallFileOptions = {}
): Buffer {
  const stat = statSync(path)
  if (path !== devNull && !stat.isFile() && !stat.isFIFO() && !stat.isDirectory()) {
    throw new Error('it is neither a file nor a pipe')
  }
  // Opening a pipe would wait for its writer. Windows has no such flag.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  const mayGetWriter = stat.isFIFO() && hasName(path)
  try {
    const pieces: Buffer[] = []
    let length = 0
    for (;;) {
      const piece = nextPiece(file, mayGetWriter && length === 0, silence)
      if (piece.byteLength === 0) return Buffer.concat(pieces)
      pieces.push(piece)
      length += piece.byteLength
      if (length > maxBytes) throw new Error(`it has more than ${maxBytes / MIB} MiB`)
    }
  } finally {
    closeSync(file)
  }
}

/** What an error of `readSmallFile` says, in a word or a few. */
export function whyUnread(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  return code ?? message
}

/**
 * The next bytes; none at the end.
 *
 * @param isToBegin no end is one yet, since who writes may be still to come
 */
function nextPiece(file: number, isToBegin: boolean, silence: number): Buffer {
  const piece = Buffer.allocUnsafe(PIECE_BYTES)
  const end = performance.now() + silence
  for (;;) {
    const count = readNow(file, piece)
    if (count !== null && (count > 0 || !isToBegin)) return piece.subarray(0, count)
    if (performance.now() > end) throw new Error('it is a pipe, and nobody writes to it')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS)
  }
}

/** How many bytes were read; null if there are none now. */
function readNow(file: number, piece: Buffer): number | null {
  try {
    return readSync(file, piece)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    return null
  }
}

/** A pipe of a shell's, as `<(…)` is, has none: nobody can open it later to write. */
function hasName(path: string): boolean {
  try {
    realpathSync.native(path)
    return true
  } catch {
    return false
  }
}
