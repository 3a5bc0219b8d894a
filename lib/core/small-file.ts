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
  const held = await readAside(path, signal, { maxBytes, silence }).catch((error: Error) => error)
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
  const pieces: Buffer[] = []
  for (const _ of read(path, pieces, { maxBytes, silence })) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS)
  }
  return Buffer.concat(pieces)
}

function fitting(bytes: Buffer, maxBytes: number): Buffer {
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes)
  return bytes
}

function tooLarge(maxBytes: number): Error {
  return new Error(`it has more than ${maxBytes / MIB} MiB`)
}

function isPipe(path: string): boolean {
  try {
    return statSync(path).isFIFO()
  } catch {
    return false
  }
}

/** Reads a pipe to its end, and lets others go on meanwhile. */
async function readAside(
  path: string,
  signal: AbortSignal,
  options: Required<SmallFileOptions>
): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (const _ of read(path, pieces, options)) await sleep(POLL_MS, undefined, { signal })
  return Buffer.concat(pieces)
}

/** Reads a file or pipe to its end. Whenever there is nothing now it yields, to be asked again a moment later. */
function* read(
  path: string,
  pieces: Buffer[],
  { maxBytes, silence }: Required<SmallFileOptions>
): Generator<void> {
  const mayGetWriter = isPipe(path) && hasName(path)
  // Opening a pipe otherwise would wait for its writer. Windows has no such flag.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    let heardAt = performance.now()
    let length = 0
    while (length <= maxBytes) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      const count = readNow(file, piece)
      if (count !== null && count > 0) {
        pieces.push(piece.subarray(0, count))
        length += count
        heardAt = performance.now()
      } else if (count === 0 && (length > 0 || !mayGetWriter)) return
      else if (performance.now() - heardAt > silence)
        throw new Error('it is a pipe, and nobody writes to it')
      else yield
    }
    throw tooLarge(maxBytes)
  } finally {
    closeSync(file)
  }
}

/** What an error of `readSmallFile` says, in a word or a few. */
export function whyUnread(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  return code ?? message
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
