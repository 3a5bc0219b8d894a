import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os'

const BYTES_PER_GIB = 2 ** 30

export interface Machine {
  cores: number
  cpu: string
  /** In GiB. */
  memory: number
  system: string
  node: string
  /** Of the last minute, before we began. A quiet machine has next to none. */
  load: number
}

export function thisMachine(): Machine {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memory: Math.round(totalmem() / BYTES_PER_GIB),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    load: loadavg()[0] ?? Number.NaN
  }
}

export function describe({ cores, cpu, memory, system, node, load }: Machine): string {
  return `${cores} cores (${cpu}), ${memory} GiB, ${system}, Node ${node}, load ${load.toFixed(1)} before`
}
