import { readdir, readFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'

/** A process that has a mark in its environment, and what else is in there. */
export interface Marked {
  pid: number
  env: Readonly<Record<string, string>>
}

/** The processes that have a mark in their environment. */
export async function marked(mark: string): Promise<Marked[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      return environment.includes(mark) ? [{ pid: Number(pid), env: variablesIn(environment) }] : []
    })
  )
  return found.flat()
}

/** Their pids, in order. */
export async function processesWith(mark: string): Promise<number[]> {
  return (await marked(mark)).map(({ pid }) => pid).sort()
}

/** Looks again and again which processes have the mark. `stop` answers with all that had it at some time. */
export function watchDoubles(mark: string) {
  const seen = new Set<number>()
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      for (const pid of await processesWith(mark)) seen.add(pid)
      await setTimeout(50)
    }
  })()
  return {
    async stop() {
      isOver = true
      await watching
      return [...seen].sort()
    }
  }
}

function variablesIn(environment: string): Record<string, string> {
  const pairs = environment.split('\0').map((pair) => {
    const at = pair.indexOf('=')
    return [pair.slice(0, at), pair.slice(at + 1)]
  })
  return Object.fromEntries(pairs)
}
