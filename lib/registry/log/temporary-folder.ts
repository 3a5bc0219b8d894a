import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { isOpenLimit, MORE_FILES } from '../../core/open-limit.js'
import { FileLock } from './file-lock.js'

/** Ours, and those that earlier builds made for what found its folder in use. */
const NAME = /^hyperseaport-(demo-)?[A-Za-z0-9]{6}$/
/** What the process that uses a folder has locked: ours, or its store. */
const LOCKS = ['lock', join('store', 'CORESTORE')]

/** What names another place for them. */
const VARIABLE = process.platform === 'win32' ? 'TEMP' : 'TMPDIR'

/**
 * A folder that goes with `destroy`, or with the next one that is made, if this process does not get that far.
 *
 * @throws STORAGE_FAILED
 */
export async function temporaryFolder() {
  const parent = tmpdir()
  await sweep(parent)
  const { path, lock } = await makeIn(parent).catch((cause) => {
    const remedy = isOpenLimit(cause)
      ? MORE_FILES
      : `let this user write there, make room, or name another by ${VARIABLE}`
    throw SeaportError.STORAGE_FAILED(
      `the folder for temporary files, ${parent}, cannot be used (${cause.code}); ${remedy}`,
      cause
    )
  })
  return {
    path,
    async destroy() {
      await rm(path, { recursive: true, force: true })
      lock?.release()
    }
  }
}

async function makeIn(parent: string) {
  const path = await mkdtemp(join(parent, 'hyperseaport-demo-'))
  return { path, lock: FileLock.tryTake(join(path, 'lock')) }
}

/** Removes the folders of processes that have ended without doing so. Those of one that cannot be listed stay. */
async function sweep(parent: string) {
  for (const name of await readdir(parent).catch(() => [])) {
    if (NAME.test(name)) await removeUnlessUsed(join(parent, name))
  }
}

/** One without a lock is just being made, or is none of ours. */
async function removeUnlessUsed(folder: string) {
  const file = LOCKS.map((name) => join(folder, name)).find(existsSync)
  if (file === undefined) return
  try {
    const lock = FileLock.tryTake(file)
    if (!lock) return
    await rm(folder, { recursive: true, force: true })
    lock.release()
  } catch {
    // It is another user's.
  }
}
