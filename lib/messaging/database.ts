import { readdir, rename } from 'node:fs/promises'
import { SeaportError } from '../core/errors.js'
import { type Rocks, rocksIn } from '../core/rocks.js'
import { isLocked, isRefused, makeFolder, removeOldLogs } from '../registry/log/storage.js'

const FIRST_KEY = Buffer.alloc(1)
const AFTER_LAST_KEY = Buffer.alloc(1, 0xff)

/**
 * Opens the database in a folder, which is made if there is none. One that is damaged is set aside as a whole, and an
 * empty one is begun: without it nothing would be sent or taken until somebody repairs it.
 *
 * @param onnotice told that it was set aside, and where it is
 * @throws STORAGE_LOCKED, and errors of the file system
 */
export async function openDatabase(
  folder: string,
  onnotice: (notice: SeaportError) => void
): Promise<Rocks> {
  const mended = (await tryToOpen(folder)) ?? (await tryToOpen(folder))
  if (mended) return mended
  const aside = `${folder}-set-aside-${Date.now()}`
  await rename(folder, aside)
  onnotice(
    SeaportError.STORAGE_FAILED(
      `${folder} is damaged; what it held is kept in ${aside}, and it is begun anew`
    )
  )
  return openWhole(folder)
}

/** Null if the database is damaged. RocksDB mends some of that when it fails, so that the next try succeeds. */
async function tryToOpen(folder: string): Promise<Rocks | null> {
  try {
    return await openWhole(folder)
  } catch (cause) {
    if (isLocked(cause)) throw SeaportError.STORAGE_LOCKED(`${folder} is in use`, cause)
    if (isRefused(cause) || !(await hasFiles(folder))) throw cause
    return null
  }
}

/** Reads all of it once, as damage is found by reading alone. */
async function openWhole(folder: string): Promise<Rocks> {
  await makeFolder(folder)
  const rocks = rocksIn(folder)
  try {
    await rocks.ready()
    for await (const _ of rocks.iterator({ gte: FIRST_KEY, lt: AFTER_LAST_KEY }));
    await removeOldLogs(folder)
    return rocks
  } catch (cause) {
    await rocks.close().catch(() => {})
    throw cause
  }
}

/** What is no folder is nothing that a database was kept in. */
async function hasFiles(folder: string): Promise<boolean> {
  return readdir(folder).then(
    (names) => names.length > 0,
    () => false
  )
}
