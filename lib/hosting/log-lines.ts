import { setTimeout } from 'node:timers/promises'
import type { Signal } from '../core/abort.js'
import type { LogLine } from './app-log.js'
import type { HostAgent } from './host-agent.js'
import type { HostedInstance } from './hosted-instance.js'

/** Lines of one instance, the oldest first. */
export interface LogLines {
  app: string
  slot: number
  lines: LogLine[]
}

/** Whether what another host sent are lines of an instance. Each line is to be looked at. */
export function areLogLines(value: unknown): value is LogLines {
  const { slot, lines } = Object(value)
  return Number.isSafeInteger(slot) && Array.isArray(lines)
}

/** Which lines of logs are wanted. */
export interface LogTerms {
  /** How many lines of each instance; the last ones. */
  lines?: number
  /** Whether to go on with new lines. */
  follow?: boolean
  /** Leaves out lines from before this time, in ms since 1970. */
  since?: number
  /** Only lines of the instance with this number on each host. */
  slot?: number | undefined
}

/** How often new lines are sent, and new instances are looked for, in ms. */
const FOLLOW_MS = 200
const MAX_LINES = 10_000
/** The most characters of one message, and of all lines that wait for a slow reader. Older lines are dropped. */
const MAX_BATCH = 64 * 1024
const MAX_WAITING = 2 ** 20

/**
 * Yields lines that the instances of an app on this host have written, those that have ended, too, and those that they
 * write.
 *
 * @param terms come from outside, and are checked here
 */
export async function* linesOf(
  agent: HostAgent,
  app: string,
  terms: { [field: string]: unknown },
  signal: Signal
): AsyncGenerator<LogLines, void, void> {
  const { lines = 100, follow, since, slot } = terms
  const options = { count: Math.min(Number(lines) || 0, MAX_LINES), since: Number(since) || 0 }
  const isMeant = (one: number) => !Number.isInteger(slot) || slot === one
  for (const ended of await agent.endedLogs(app)) {
    if (!isMeant(ended.slot)) continue
    for (const batch of batchesOf(await ended.log.lines(options))) {
      yield { app, slot: ended.slot, lines: batch }
    }
  }
  const followed = new Map<HostedInstance, Followed>()
  try {
    for (;;) {
      for (const instance of agent.instancesOf(app)) {
        if (followed.has(instance) || !isMeant(instance.occupancy.slot)) continue
        // Of an instance that came later every line is new.
        const one = await Followed.begin(instance, options)
        followed.set(instance, one)
      }
      for (const [instance, one] of followed) {
        for (const batch of one.take()) yield { app, slot: instance.occupancy.slot, lines: batch }
      }
      if (follow !== true || signal.aborted) return
      await setTimeout(FOLLOW_MS, undefined, { ref: false })
    }
  } finally {
    for (const one of followed.values()) one.stop()
  }
}

/** Lines in pieces of one message each. */
function* batchesOf(lines: LogLine[]): Generator<LogLine[], void, void> {
  let batch: LogLine[] = []
  let size = 0
  for (const line of lines) {
    if (batch.length > 0 && size + line.text.length > MAX_BATCH) {
      yield batch
      batch = []
      size = 0
    }
    batch.push(line)
    size += line.text.length
  }
  if (batch.length > 0) yield batch
}

/** Lines of one instance that wait to be sent. */
class Followed {
  #waiting: LogLine[] = []
  #size = 0
  #stop = () => {}

  static async begin({ log }: HostedInstance, options: { count: number; since: number }) {
    const one = new Followed()
    const { lines, stop } = await log.follow(options, (line) => one.#add(line))
    one.#waiting = [...lines, ...one.#waiting]
    one.#stop = stop
    return one
  }

  /** Takes the lines that wait, in pieces of one message each. */
  take(): Generator<LogLine[], void, void> {
    const lines = this.#waiting
    this.#waiting = []
    this.#size = 0
    return batchesOf(lines)
  }

  stop() {
    this.#stop()
  }

  #add(line: LogLine) {
    this.#waiting.push(line)
    this.#size += line.text.length
    while (this.#size > MAX_WAITING) this.#size -= this.#waiting.shift()?.text.length ?? this.#size
  }
}
