import {
  chmod,
  chown,
  constants,
  type FileHandle,
  lstat,
  open,
  realpath,
  rm,
  stat,
  writeFile
} from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileLock, makeFolder, replaceFile } from '../lib/folders.js'
import { readSmallFile, SeaportError, whyUnread } from '../lib/identity.js'
import { waitAloud } from './talk.js'

const OWNER_ONLY = 0o600
/** More than the longest list of those who have access. */
const MAX_BYTES = 16 * 1024 * 1024
/** What a group may do with a secret: a service may be in it, and read what another user writes. */
const GROUPS = 0o060
/** With any of these nobody has meant it for a group. */
const EVERYBODYS = 0o007
/**
 * A file that may only be written in its place: one that is mounted into a container, is in a folder of others, or is
 * another user's or group's, to whom no new one can be given.
 */
const NOT_REPLACED = ['EBUSY', 'EACCES', 'EPERM', 'EROFS']
/** Nobody reads a pipe, or it is full. */
const NOT_READ = ['ENXIO', 'EAGAIN']
const POLL_MS = 50

/**
 * Reads such a file.
 *
 * @throws an error of the file system
 */
export function readSecret(path: string): string {
  return readSmallFile(path, { maxBytes: MAX_BYTES }).toString()
}

/**
 * Writes a new file that only its owner can read, and the folder that it is to be in. Where that fails, as on a full
 * disk, there is no file.
 *
 * @throws STORAGE_FAILED
 */
export async function writeNewSecret(path: string, text: string) {
  try {
    // A fresh machine has no ~/.config.
    await makeFolder(dirname(path))
    try {
      await writeFile(path, text, { mode: OWNER_ONLY, flag: 'wx', flush: true })
    } catch (cause) {
      // One that somebody else has just made is theirs.
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') await rm(path, { force: true })
      throw cause
    }
  } catch (cause) {
    throw notWritten(path, cause)
  }
}

/**
 * Writes such a file in place of one that may be there: as a whole, or the old one stays. What a link leads to is
 * replaced or made, and not the link; and whose file and whose group's it was, theirs it stays. The reader of a pipe is
 * waited for.
 *
 * @param signal ends that wait
 * @throws STORAGE_FAILED, or the signal's reason
 */
export async function replaceSecret(path: string, text: string, signal?: AbortSignal) {
  try {
    const old = await statIfThere(path)
    if (old === null) {
      if (await isLink(path)) return await writeBehindLink(path, text)
      return await writeNewSecret(path, text)
    }
    // A device or pipe keeps nothing that could be lost.
    if (old.isFIFO()) return await writeToPipe(path, Buffer.from(text), signal)
    if (!old.isFile()) return await writeFile(path, text)
    const file = await realpath(path)
    const isShared = (old.mode & EVERYBODYS) === 0
    try {
      // Nobody else may read it before, nor find for a moment that they may not.
      await replaceFile(file, text, async (draft) => {
        await chown(draft, old.uid, old.gid)
        await chmod(draft, OWNER_ONLY | (isShared ? old.mode & GROUPS : 0))
      })
    } catch (cause) {
      if (!NOT_REPLACED.includes(`${(cause as NodeJS.ErrnoException).code}`)) throw cause
      return await writeInPlace(file, Buffer.from(text))
    }
  } catch (cause) {
    throw notWritten(path, cause)
  }
}

/**
 * Changes such a file, which may not be there yet. Others that change it at the same time wait until it is done.
 *
 * @param change makes the new text of what is there
 * @throws BAD_CONFIG, STORAGE_FAILED, and what `change` throws
 */
export async function changeSecret(path: string, change: (text: string) => string) {
  const old = await stat(path).catch(() => null)
  if (old && !old.isFile()) throw SeaportError.BAD_CONFIG(`${path} is no file`)
  try {
    await makeFolder(dirname(path))
    while (!(await changeLocked(path, change))) {
      // Somebody has put another one in its place, which is the one to lock.
    }
  } catch (cause) {
    throw notWritten(path, cause)
  } finally {
    // To be locked, it was made.
    const { size = 1 } = (await stat(path).catch(() => null)) ?? {}
    if (!old && size === 0) await rm(path, { force: true })
  }
}

/** Returns false if it was replaced by somebody else before it was locked. */
async function changeLocked(path: string, change: (text: string) => string): Promise<boolean> {
  const lock = FileLock.take(path)
  try {
    if (!lock.isOf(path)) return false
    await replaceSecret(path, change(readSecret(path)))
    return true
  } finally {
    lock.release()
  }
}

async function statIfThere(path: string) {
  try {
    return await stat(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function isLink(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => null)
  return found?.isSymbolicLink() === true
}

/** Makes the file that a link names, and that is not there. Where that fails, there is none. */
async function writeBehindLink(link: string, text: string) {
  try {
    await writeFile(link, text, { mode: OWNER_ONLY, flush: true })
  } catch (cause) {
    const made = await realpath(link).catch(() => null)
    if (made !== null) await rm(made, { force: true })
    throw cause
  }
}

/** Opening a pipe as a file is opened would wait for its reader, and nothing could end that. */
async function writeToPipe(path: string, bytes: Buffer, signal?: AbortSignal) {
  let done = 0
  const attempt = async () => {
    const file = await open(path, constants.O_WRONLY | (constants.O_NONBLOCK ?? 0))
    try {
      while (done < bytes.byteLength) done += (await file.write(bytes, done)).bytesWritten
    } finally {
      await file.close()
    }
  }
  const untilRead = async () => {
    for (;;) {
      signal?.throwIfAborted()
      try {
        return await attempt()
      } catch (error) {
        if (!NOT_READ.includes(`${(error as NodeJS.ErrnoException).code}`)) throw error
      }
      await sleep(POLL_MS)
    }
  }
  await waitAloud(untilRead(), () => `${path} is a pipe, and nobody reads it yet`)
}

/** What is more than before comes first: where there is no room for that, nothing of the old text was touched. */
async function writeInPlace(path: string, bytes: Buffer) {
  const file = await open(path, 'r+')
  try {
    const old = await file.readFile()
    try {
      await writeAll(file, bytes.subarray(old.byteLength), old.byteLength)
      await writeAll(file, bytes.subarray(0, old.byteLength), 0)
      await file.truncate(bytes.byteLength)
      await file.sync()
    } catch (cause) {
      await file.truncate(old.byteLength)
      await writeAll(file, old, 0)
      throw cause
    }
  } finally {
    await file.close()
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number) {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, done, null, position + done)
    done += bytesWritten
  }
}

function notWritten(path: string, cause: unknown): SeaportError {
  if (cause instanceof SeaportError) return cause
  return SeaportError.STORAGE_FAILED(`${path} cannot be written (${whyUnread(cause)})`, cause)
}
