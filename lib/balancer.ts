import { tierOf } from './registry/directory.js'
import type { Status } from './registry/record.js'

/** What a balancer needs to know of an instance. */
export interface Balanced {
  version: string
  /** Whether a live registrar vouches for it. */
  live?: boolean
  /** What its owner says of it. */
  status?: Status
}

/**
 * Decides in which order instances are tried. Pure: it is given the candidates in the directory's
 * order (best first) and the number of the dial, and returns all of them, none twice.
 */
export type Balancer = <T extends Balanced>(candidates: readonly T[], dial: number) => T[]

/** Always the directory's order: the others are only there for when the first one fails. */
export const first: Balancer = (candidates) => [...candidates]

/**
 * Takes turns among those that are equally good: the same version, and the same kind of evidence that
 * they live. The others stay behind them as failover, each group in its own turns.
 */
export const roundRobin: Balancer = (candidates, dial) =>
  groups(candidates).flatMap((group) => rotate(group, dial % group.length))

function groups<T extends Balanced>(candidates: readonly T[]): T[][] {
  const groups: T[][] = []
  for (const candidate of candidates) {
    const last = groups.at(-1)
    if (last?.[0] && isEqual(last[0], candidate)) last.push(candidate)
    else groups.push([candidate])
  }
  return groups
}

function isEqual(a: Balanced, b: Balanced): boolean {
  return a.version === b.version && tierOf(a) === tierOf(b)
}

function rotate<T>(group: T[], by: number): T[] {
  return [...group.slice(by), ...group.slice(0, by)]
}
