import { readFile } from 'node:fs/promises'
import { onceAllowed } from '../../core/open-limit.js'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'
/** Fields of /proc/PID/stat. They are counted after the name, which may contain any characters. */
const STATE = 0
const USER_TICKS = 11
const SYSTEM_TICKS = 12
const START_TICKS = 19
const RESIDENT_PAGES = 21
/** It is 100 ticks a second on every Linux that Node runs on. */
const MS_PER_TICK = 10
const PAGE_BYTES = 4096

/** A process, as the kernel shows it. */
export interface ProcessStat {
  ticks: string
  /** Resident memory, in bytes. */
  memory: number
  /** The CPU time, in ms. */
  cpu: number
}

/**
 * What the kernel says of a process; null if there is none, or it is a zombie. Waits while no more files may be opened:
 * who took a process for gone would end its group, or start another beside it.
 */
export async function statOf(pid: number): Promise<ProcessStat | null> {
  const stat = await onceAllowed(() => readFile(`/proc/${pid}/stat`, 'latin1')).catch(() => null)
  if (stat === null) return null
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[STATE] === 'Z' || fields[STATE] === 'X') return null
  const number = (field: number) => Number(fields[field] ?? 0)
  return {
    ticks: fields[START_TICKS] ?? '',
    memory: number(RESIDENT_PAGES) * PAGE_BYTES,
    cpu: (number(USER_TICKS) + number(SYSTEM_TICKS)) * MS_PER_TICK
  }
}

/** The id of this boot of the machine. Processes that were recorded in another boot are gone. */
export async function bootId(): Promise<string> {
  return (await onceAllowed(() => readFile(BOOT_ID, 'utf8'))).trim()
}

/** Sends a signal to a process, or with a negative pid to its group. If it has ended, nothing happens. */
export function signalTo(pid: number, signal: NodeJS.Signals) {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}
