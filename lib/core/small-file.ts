import { closeSync, constants, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { devNull } from 'node:os'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

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

/** What pipes had that were read ahead, by their paths, or why nothing was read. */
const ahead = new Map<string, Buffer | Error>()

/**
 * Reads a pipe before `readSmallFile` is asked for it, which then waits for nobody: while this waits, signals are heard. What
 * goes wrong is `readSmallFile`'s to tell, and so is what is no pipe.
 *
 * @throws the signal's reason
 */
export async function readPipeAhead(
  path: string,
  signal: AbortSignal,
  { maxBytes = MAX_BYTES, silence = SILENCE_MS }: SmallFileOptions = {}
) {
  if (!isPipe(path)) return
  const held = await allOf(path, signal, maxBytes, silence).catch((error: Error) => error)
  signal.throwIfAborted()
  ahead.set(resolve(path), held)
}

/**
 * Reads a file, or a pipe, that somebody has named. A device might have no end, and nothing else is done until it is
 * read; only the one that is always empty is taken. Nor is the writer of a pipe waited for without end.
 */
export function readSmallFile(
  path: string,
  { maxBytes = MAX_BYTES, silence = SILENCE_MS }: SmallFileOptions = {}
): Buffer {
  const held = ahead.size > 0 && ahead.get(resolve(path))
  if (held instanceof Error) throw held
  if (held) return fitting(held, maxBytes)
  const stat = statSync(path)
  if (path !== devNull && !stat.isFile() && !stat.isFIFO() && !stat.isDirectory()) {
    throw new Error('it is neither a file nor a pipe')
  }
  const file = openNow(path)
  const mayGetWriter = stat.isFIFO() && hasName(path)
  try {
    const pieces: Buffer[] = []
    let length = 0
    for (;;) {
      const piece = nextPiece(file, mayGetWriter && length === 0, silence)
      if (piece.byteLength === 0) return Buffer.concat(pieces)
      pieces.push(piece)
      length += piece.byteLength
      if (length > maxBytes) throw tooLarge(maxBytes)
    }
  } finally {
    closeSync(file)
  }
}

function fitting(bytes: Buffer, maxBytes: number): Buffer {
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes)
  return bytes
}

function tooLarge(maxBytes: number): Error {
  return new Error(`it has more than ${maxBytes / MIB} MiB`)
}

/** Opening a pipe otherwise would wait for its writer. Windows has no such flag. */
function openNow(path: string): number {
  return openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
}

function isPipe(path: string): boolean {
  try {
    return statSync(path).isFIFO()
  } catch {
    return false
  }
}

/** All that comes from a pipe until its end. */
async function allOf(
  path: string,
  signal: AbortSignal,
  maxBytes: number,
  silence: number
): Promise<Buffer> {
  const [pieces, mayGetWriter, file] = [[] as Buffer[], hasName(path), openNow(path)]
  try {
    let heardAt = performance.now()
    for (let length = 0; length <= maxBytes; ) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      const count = readNow(file, piece)
      if (count !== null && count > 0) {
        pieces.push(piece.subarray(0, count))
        length += count
        heardAt = performance.now()
      } else {
        if (count === 0 && (length > 0 || !mayGetWriter)) return Buffer.concat(pieces)
        if (performance.now() - heardAt > silence) throw nobodyWrites()
        await sleep(POLL_MS, undefined, { signal })
      }
    }
    throw tooLarge(maxBytes)
  } finally {
    closeSync(file)
  }
}

function nobodyWrites(): Error {
  return new Error('it is a pipe, and nobody writes to it')
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
    if (performance.now() > end) throw nobodyWrites()
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
