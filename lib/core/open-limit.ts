import { setTimeout as sleep } from 'node:timers/promises'

const RETRY_MS = 100

/**
 * Whether an error says that this process, or the machine, may not open more files now. What could not be read for it
 * may be as well as ever, so nothing may be begun anew in its place.
 */
export function isOpenLimit(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as NodeJS.ErrnoException
  return code === 'EMFILE' || code === 'ENFILE' || SAID.test(error.message)
}

/**
 * For who reads a file that may be missing or damaged, and can do without.
 *
 * @throws the error, if it says that no more files may be opened
 */
export function unlessOpenLimit(error: unknown) {
  if (isOpenLimit(error)) throw error
}

/** For who cannot do without: reads again until more files may be opened, and throws whatever else went wrong. */
export async function onceAllowed<T>(read: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!isOpenLimit(error)) throw error
      await sleep(RETRY_MS, undefined, { ref: false })
    }
  }
}

/** What helps. */
export const MORE_FILES = 'let this process open more files, as with ulimit -n 1024'
/** Of what tells no code, as RocksDB. */
const SAID = /too many open|file table overflow|EMFILE|ENFILE/i
