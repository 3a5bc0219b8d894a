import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileLock } from './file-lock.js'

/** Ours, and those that earlier builds made for what found its folder in use. */
const NAME = /^hyperseaport-(demo-)?[A-Za-z0-9]{6}$/
/** What the process that uses a folder has locked: ours, or its store. */
const LOCKS = ['lock', join('store', 'CORESTORE')]

/** A folder that goes with `destroy`, or with the next one that is made, if this process does not get that far. */
export async function temporaryFolder() {
  await sweep(tmpdir())
  const path = await mkdtemp(join(tmpdir(), 'hyperseaport-demo-'))
  const lock = FileLock.tryTake(join(path, 'lock'))
  return {
    path,
    async destroy() {
      await rm(path, { recursive: true, force: true })
      lock?.release()
    }
  }
}

/** Removes the folders of processes that have ended without doing so. */
async function sweep(parent: string) {
  for (const name of await readdir(parent)) {
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
