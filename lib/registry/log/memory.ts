import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessOpenLimit } from '../../core/open-limit.js'
import type { Snapshot } from '../trust/snapshot.js'

/** What a participant remembers beside the logs. */
export interface Memory {
  certificates: unknown[]
  grants: unknown[]
  /** Blocks of each log that were read into the directory, by log key. */
  applied: { [logKey: string]: number }
  /** The snapshot of each log that is there as a whole. */
  snapshots: { [logKey: string]: Snapshot }
  /** Keys of cores with blocks of other snapshots, and the log of each. */
  strays: { [key: string]: string }
  /** The registry's last word on whether it is private, as it was signed. Null if none is known. */
  mode: unknown
  /** The newest date that the registry's key signed, ms since 1970. */
  signedAt: number
  /** A registrar's own log: its name in the store (a number in folders of earlier builds), and how its last run ended. */
  run: { log: string | number; boot: string; ended: boolean } | null
}

export const MEMORY_FILE = 'registry.json'

/** What a new store knows of the logs. */
export function nothingStored() {
  return { applied: {}, snapshots: {}, strays: {}, run: null }
}

export function noMemory(): Memory {
  return { certificates: [], grants: [], mode: null, signedAt: 0, ...nothingStored() }
}

/**
 * A memory that cannot be read is as good as none: the network knows the rest.
 *
 * @throws an error of the file system, if no more files may be opened now
 */
export async function loadMemory(dir: string): Promise<Memory> {
  try {
    const text = await readFile(join(dir, MEMORY_FILE), 'utf8')
    const memory = JSON.parse(text)
    const { certificates, grants = [], applied, snapshots, strays, run = null } = memory
    const { mode = null, signedAt } = memory
    return {
      certificates: [...certificates],
      grants: [...grants],
      mode,
      signedAt: Number.isSafeInteger(signedAt) ? signedAt : 0,
      applied: { ...applied },
      snapshots: { ...snapshots },
      strays: { ...strays },
      run
    }
  } catch (cause) {
    unlessOpenLimit(cause)
    return noMemory()
  }
}
