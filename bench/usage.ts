import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** What /proc counts CPU time in. 100 a second on every Linux since 2.6. */
const TICKS_PER_SECOND = 100
const MIB_PER_KB = 1 / 1024

/** What a process and its descendants used, from /proc: where that is missing, NaN. */
export class Usage {
  readonly #pid: number

  constructor(pid: number) {
    this.#pid = pid
  }

  /** CPU time until now, in s. */
  get cpu(): number {
    return sum(this.#pids.map(cpuOf))
  }

  /** Resident memory now, in MiB. What processes share is counted in each. */
  get rss(): number {
    return sum(this.#pids.map((pid) => statusOf(pid, 'VmRSS') * MIB_PER_KB))
  }

  /** The most of it since `resetPeak`, in MiB. */
  get peak(): number {
    return sum(this.#pids.map((pid) => statusOf(pid, 'VmHWM') * MIB_PER_KB))
  }

  resetPeak() {
    for (const pid of this.#pids) {
      try {
        writeFileSync(`/proc/${pid}/clear_refs`, '5')
      } catch {
        // Another user's, as a part of sshd is: its peak is then of its whole life.
      }
    }
  }

  get #pids(): number[] {
    return descendantsOf(this.#pid)
  }
}

/** Packets that crossed the loopback interface until now, ours or not. NaN where it cannot be told. */
export function loopbackPackets(): number {
  const line = read('/proc/net/dev')
    .split('\n')
    .find((line) => line.trimStart().startsWith('lo:'))
  return Number(line?.trim().split(/\s+/)[2] ?? Number.NaN)
}

function descendantsOf(pid: number): number[] {
  const children = threadsOf(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number)
  )
  return [pid, ...children.flatMap(descendantsOf)]
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function cpuOf(pid: number): number {
  // The name, in parentheses, may hold spaces.
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

function statusOf(pid: number, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`))?.[1])
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((a, b) => a + b, 0)
}
