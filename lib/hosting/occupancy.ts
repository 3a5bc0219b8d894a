import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessOpenLimit } from '../core/open-limit.js'
import { replaceFile, replaceUnlessSame } from '../core/replace-file.js'
import { AppLog, removeLog } from './app-log.js'
import type { Release } from './release.js'

/** Which instance runs in a folder. This is stored on the disk, so that the host finds it again. */
export interface Occupancy {
  app: string
  slot: number
  /** The hash of its release. */
  hash: string
  /** Ms since 1970. */
  createdAt: number
  /** Whether two must never run at once: it ends with the host's process. */
  single?: true
}

/** The log of an instance, in its folder. */
export const LOG_FILE = 'log'
const OCCUPANCY_FILE = 'occupancy.json'
/** The most that an app file may ask for. */
const MAX_LOG_FILES = 100

/** Notes in the folder of an instance that it runs there. */
export async function writeOccupancy(folder: string, occupancy: Occupancy) {
  await replaceUnlessSame(join(folder, OCCUPANCY_FILE), JSON.stringify(occupancy))
}

/** What is stored in the place of an instance that has ended: when that was, and how long its log is kept, in ms. */
interface Leftover {
  endedAt: number
  keep: number
}

/**
 * Notes in the folder of an instance that it has ended.
 *
 * @param release null if it is not here: then nobody knows how long the log is to be kept
 */
export async function writeEnd(folder: string, release: Pick<Release, 'logs'> | null) {
  const left: Leftover = { endedAt: Date.now(), keep: release?.logs.keep ?? 0 }
  await replaceFile(join(folder, OCCUPANCY_FILE), JSON.stringify(left))
}

/** The log in the folder of an instance that has ended, to be read. */
export function endedLog(folder: string): AppLog {
  return new AppLog({ raw: join(folder, LOG_FILE), folder, size: 0, files: MAX_LOG_FILES })
}

/** Deletes the log in the folder of an instance that has ended, once the time for which it is kept is over. */
export async function expireLog(folder: string, now: number) {
  const { endedAt, keep } = Object(await noteIn(folder)) as Partial<Leftover>
  if (endedAt === undefined || keep === undefined || now < endedAt + keep) return
  await removeLog(join(folder, LOG_FILE), folder)
}

/** The instance that ran in a folder when the host ended; null if none did. */
export async function occupancyOf(folder: string): Promise<Occupancy | null> {
  const { app, slot, hash, createdAt, single } = Object(await noteIn(folder))
  if (typeof app !== 'string' || !Number.isInteger(slot)) return null
  return { app, slot, hash, createdAt, ...(single === true && { single }) }
}

/**
 * What is noted in the folder of an instance; null if nothing is, or it is damaged.
 *
 * @throws an error if no more files may be opened
 */
async function noteIn(folder: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(folder, OCCUPANCY_FILE), 'utf8'))
  } catch (error) {
    unlessOpenLimit(error)
    return null
  }
}
