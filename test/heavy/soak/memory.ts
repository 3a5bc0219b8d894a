import { readFileSync } from 'node:fs'

/** How much memory processes use, as far as it was looked at. Linux only; elsewhere nothing is known. */
export class Memory {
  /** The most that was seen, in MiB, by what it was seen at. */
  readonly most: Record<string, number> = {}
  /** What was seen last, in MiB. */
  readonly last: Record<string, number> = {}

  look(name: string, pid: number) {
    const mib = residentSize(pid)
    if (mib === null) return
    this.most[name] = Math.max(this.most[name] ?? 0, mib)
    this.last[name] = mib
  }
}

/** In MiB; null if there is no such process. */
function residentSize(pid: number): number | null {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return kib === undefined ? null : Math.round(Number(kib) / 1024)
  } catch {
    return null
  }
}
