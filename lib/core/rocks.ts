import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** RocksDB, typed for what we call and no more. It is what Corestore keeps logs in, too. */
export interface Rocks {
  ready(): Promise<void>
  close(): Promise<void>
  get(key: Buffer): Promise<Buffer | null>
  /** One that is not destroyed keeps `close` waiting for ever. */
  write(): RocksBatch
  iterator(range: { gte: Buffer; lt: Buffer }): AsyncIterable<{ key: Buffer; value: Buffer }>
  /**
   * Rewrites what is between two keys, given as texts: rocksdb-native 3.18.1 takes a Buffer in the second place for
   * options. Without `FORCED` it may only move files, with all that was removed still in them.
   */
  compactRange(
    start: string,
    end: string,
    options: { bottommostLevelCompaction: number }
  ): Promise<void>
}

export interface RocksBatch {
  tryPut(key: Buffer, value: Buffer): void
  tryDelete(key: Buffer): void
  /** All of it is written, or nothing. */
  flush(): Promise<void>
  destroy(): void
}

/** RocksDB's word for a compaction that rewrites the last level as well. */
export const FORCED = { bottommostLevelCompaction: 2 }
/** What is written to one file before it is sorted into others: the disk takes that much at once. */
const WRITE_BUFFER_BYTES = 4 * 1024 * 1024
const BACKGROUND_JOBS = 2

/** One write. A value of null removes. */
export interface RocksChange {
  key: Buffer
  value: Buffer | null
}

/** Writes all of these changes or none. */
export async function writeChanges(rocks: Rocks, changes: Iterable<RocksChange>) {
  const batch = rocks.write()
  for (const { key, value } of changes) {
    if (value) batch.tryPut(key, value)
    else batch.tryDelete(key)
  }
  try {
    await batch.flush()
  } finally {
    batch.destroy()
  }
}

/** A database in a folder, which one process has at a time. It opens with `ready`. */
export function rocksIn(folder: string): Rocks {
  const RocksDB = require('rocksdb-native') as { new (path: string, options: object): Rocks }
  return new RocksDB(folder, {
    writeBufferSize: WRITE_BUFFER_BYTES,
    maxBackgroundJobs: BACKGROUND_JOBS
  })
}
