import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Signal, unlessAborted } from '../core/abort.js'
import { unlessOpenLimit } from '../core/open-limit.js'
import { printable } from '../core/printable.js'
import { replaceFile } from '../core/replace-file.js'
import { startTimer } from '../core/timer.js'
import { endingText } from './app-instance.js'
import { giveData } from './driver/app-users.js'
import type { Driver, Ending, Kept, Running, StartTerms } from './driver/driver.js'

export interface JobOptions {
  driver: Driver
  terms: Omit<StartTerms, 'log' | 'data'>
  /** A folder of its own. Whoever has read the result removes it: until then it is the same when asked for again. */
  folder: string
  /** After what time it is killed, in ms. */
  timeout: number
  /** Once this is aborted the job is not waited for any more. */
  signal: Signal
  /** Whether it is killed then. Otherwise it goes on. */
  isKilled: () => boolean
}

const PRIVATE = 0o700
const STATE_FILE = 'state.json'
const LOG_FILE = 'log'
const DATA_FOLDER = 'data'
const CODE_FILE = 'code'
const MAX_CODE_BYTES = 8
const TAIL_BYTES = 8192
const LAST_LINES = 5
/** The job writes its output by itself. When there is more of it than this, all but its end is dropped. */
const MAX_LOG_BYTES = 4 * 2 ** 20
const BOUND_MS = 200
/** Runs a command, and leaves its exit code in a file, for a host that was started again in between. */
const WRAPPER =
  'file=$1; shift; "$@"; code=$?; echo "$code" > "$file.new" && mv "$file.new" "$file"; exit "$code"'

/**
 * Runs a command to its end. It outlives the host's process, as instances do: the next process finds it again, or learns
 * how it has ended. Only one that ended unseen, as when the machine was switched off, is run anew.
 *
 * @returns why it failed, with the last lines of its output; null if it ended well
 * @throws COMMAND_FAILED, STORAGE_FAILED, and the reason of the signal
 */
export async function runJob(options: JobOptions): Promise<string | null> {
  const { folder } = options
  const data = join(folder, DATA_FOLDER)
  const running = (await found(options)) ?? (await begun(options, data))
  const why = typeof running === 'number' ? textOfCode(running) : await endOf(running, options)
  const lines = why === null ? [] : await lastLines(join(folder, LOG_FILE))
  return why === null ? null : [why, ...lines].join('\n')
}

/** Whether a job was begun in a folder, and not seen to end. */
export async function isJobBegun(folder: string): Promise<boolean> {
  return (await lstat(join(folder, STATE_FILE)).catch(() => null)) !== null
}

/** The job that an earlier process of the host has begun, or its exit code; null if there is none. */
async function found({ driver, folder }: JobOptions): Promise<Running | number | null> {
  const text = await readFile(join(folder, STATE_FILE), 'utf8').catch((cause) => {
    unlessOpenLimit(cause)
    return null
  })
  if (text === null) return null
  const kept = keptIn(text)
  const running = kept && (await driver.adopt(kept))
  return running ?? (await codeIn(join(folder, DATA_FOLDER)))
}

/** Null if the file was not whole on the disk when the power was cut, and whatever ran is gone. */
function keptIn(text: string): Kept | null {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

async function begun({ driver, terms, folder }: JobOptions, data: string): Promise<Running> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(data, { recursive: true, mode: PRIVATE })
  if (typeof terms.uid === 'number') await giveData(terms.uid, data)
  const command = ['/bin/sh', '-c', WRAPPER, 'sh', join(data, CODE_FILE), ...terms.command]
  return driver.start({ ...terms, command, data, log: join(folder, LOG_FILE) }, (kept) =>
    replaceFile(join(folder, STATE_FILE), JSON.stringify(kept))
  )
}

async function endOf(running: Running, options: JobOptions): Promise<string | null> {
  const { folder, timeout, signal } = options
  let isLate = false
  const timer = startTimer(() => {
    isLate = true
    void running.kill()
  }, timeout)
  const log = join(folder, LOG_FILE)
  const bounding = setInterval(() => void boundLog(log).catch(() => {}), BOUND_MS)
  const ending = await unlessAborted(running.ended, signal)
    .catch(async (reason) => {
      if (options.isKilled()) await running.kill()
      throw reason
    })
    .finally(() => {
      clearTimeout(timer)
      clearInterval(bounding)
    })
  if (isLate) return `it took longer than ${timeout / 1000} s`
  return textOf(ending, await codeIn(join(folder, DATA_FOLDER)))
}

function textOf(ending: Ending, kept: number | null): string | null {
  const code = ending.code ?? kept
  return code !== null && !ending.isOutOfMemory ? textOfCode(code) : endingText(ending)
}

function textOfCode(code: number): string | null {
  return code === 0 ? null : `it ended with exit code ${code}`
}

/** What the job has left in its own folder, which may be anything. */
async function codeIn(data: string): Promise<number | null> {
  const file = join(data, CODE_FILE)
  const stat = await lstat(file).catch(() => null)
  if (!stat?.isFile() || stat.size > MAX_CODE_BYTES) return null
  const text = (await readFile(file, 'utf8')).trim()
  return /^\d+$/.test(text) ? Number(text) : null
}

async function lastLines(log: string): Promise<string[]> {
  const file = await open(log).catch(() => null)
  if (!file) return []
  try {
    const lines = (await tailOf(file))
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
    return lines.slice(-LAST_LINES).map(printable)
  } finally {
    await file.close()
  }
}

/** What is written between the two steps is lost. */
async function boundLog(log: string) {
  const file = await open(log, constants.O_RDWR | constants.O_APPEND)
  try {
    const { size } = await file.stat()
    if (size <= MAX_LOG_BYTES) return
    const tail = await tailOf(file)
    await file.truncate()
    await file.write(tail)
  } finally {
    await file.close()
  }
}

async function tailOf(file: FileHandle): Promise<Buffer> {
  const { size } = await file.stat()
  const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
  await file.read(bytes, 0, bytes.byteLength, size - bytes.byteLength)
  return bytes
}
