import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isOpenLimit } from '../../core/open-limit.js'
import { type CoreStorage, Corestore, defaultStorage } from './hypercore.js'

export interface StoreOptions {
  /**
   * How much is written to one file before it is sorted into others, in bytes. RocksDB takes a tenth more than that of
   * the disk at once. Default: its own, 64 MiB.
   */
  writeBufferSize?: number
  /** Told whenever something could not be read or written: this is no fault of who sent it. */
  onfault?: (cause: Error) => void
}

/** @param place a folder, or a database that stands in for RocksDB */
export function makeStore(
  place: string | object,
  { onfault, ...options }: StoreOptions = {}
): Corestore {
  const storage = defaultStorage(place, options)
  if (onfault) watchBatches(storage, onfault)
  return new Corestore(storage)
}

/** RocksDB writes a log of what it does, and puts that of the last run aside each time it is opened. */
export async function removeOldLogs(folder: string) {
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    if (name.startsWith('LOG.old')) await rm(join(folder, name), { force: true }).catch(() => {})
  }
}

/** Whether an error says that another process has the store. It has no code; reworded, it is any failure to open. */
export function isLocked(error: unknown): boolean {
  return says(error, /could not be locked|lock file|No locks available/i) && !isOpenLimit(error)
}

/** Whether an error says that a store was copied: storage remembers which file on which disk it is. */
export function isMoved(error: unknown): boolean {
  return says(error, /moved unsafely|device file/i)
}

/**
 * Whether a store cannot be opened, read or written although what it holds may be well: the disk is full, may not be
 * written or is broken, or this process may open no more files. Any other failure is taken for damage.
 */
export function isRefused(error: unknown): boolean {
  return isOpenLimit(error) || says(error, REFUSED)
}

const REFUSED =
  /no space|quota|too large|read-only|permission|not permitted|EACCES|EROFS|ENOSPC|input\/output|memory/i

function says(error: unknown, text: RegExp): boolean {
  return error instanceof Error && text.test(error.message)
}

/** What all sessions of a database make their reads and writes with. */
interface BatchMaker {
  createReadBatch?: MakeBatch
  createWriteBatch?: MakeBatch
}

type MakeBatch = (...options: unknown[]) => Batch

interface Batch {
  _onfinished?(error: (Error & { errors?: readonly unknown[] }) | null): void
}

/** Tells of reads and writes that failed; of none if that cannot be known. */
function watchBatches({ rocks }: CoreStorage, onfault: (cause: Error) => void) {
  const state = (rocks as { _state?: BatchMaker } | undefined)?._state
  if (!state) return
  // Batches are used again.
  const watched = new WeakSet<Batch>()
  const watch = (batch: Batch): Batch => {
    if (watched.has(batch)) return batch
    watched.add(batch)
    const finish = batch._onfinished?.bind(batch)
    if (!finish) return batch
    batch._onfinished = (error) => {
      if (error && /not applied/.test(error.message)) onfault(causeOf(error))
      finish(error)
    }
    return batch
  }
  for (const name of ['createReadBatch', 'createWriteBatch'] as const) {
    const make = state[name]?.bind(state)
    if (make) state[name] = (...options) => watch(make(...options))
  }
}

function causeOf(error: Error & { errors?: readonly unknown[] }): Error {
  const causes = [error.cause, ...(error.errors ?? [])]
  return causes.find((cause) => cause instanceof Error) ?? error
}
