import { SeaportError } from '../core/errors.js'
import { type Instance, tierOf, type Versions } from '../registry/replica/directory.js'

/** What a balancer needs to know of an instance. */
export interface Balanced extends Partial<Pick<Instance, 'live' | 'status' | 'app'>> {
  /** Hex. */
  servicePublicKey: string
  version: string
}

/** What was measured of an instance here, and nowhere else. */
export interface Measurement {
  /** Streams that are open or being opened. */
  inFlight: number
  /** How long opens take lately, in ms; null if nothing is known. */
  latency: number | null
}

/** What a choice may depend on, beside the candidates. */
export interface BalanceContext {
  /** The number of this dial, one higher with each. */
  dial: number
  /** From 0 to below 1. */
  random: () => number
  measure: (candidate: Balanced) => Measurement
  /** Who dials. Rendezvous hashing gives the same key the same choice. */
  consumerKey: string
  /** Whether older versions are as good as the newest one. */
  versions: Versions
}

/**
 * Decides in which order instances are tried. Pure: it is given the candidates in the directory's
 * order (best first), and returns all of them, none twice.
 *
 * A choice is made among those that are equally good: the same version, and the same kind of evidence
 * that they live. Of an app, the versions that run beside each other while it is updated count as one: the first
 * instance of the new one would get all that three of the old one had. The others stay behind them as failover, group by group.
 */
export type Balancer = <T extends Balanced>(
  candidates: readonly T[],
  context: BalanceContext
) => T[]

/** The names on the left are the ones to use; those on the right are older names of the same. */
const BALANCERS = {
  p2c: inGroups(twoChoices),
  first: inGroups((group) => group),
  'round-robin': inGroups((group, { dial }) => rotate(group, dial % group.length)),
  hash: inGroups(byRendezvous)
} satisfies Record<string, Balancer>

const OLDER_NAMES = {
  'static-first': 'first',
  'static-roundRobin': 'round-robin',
  'static-hash': 'hash'
} satisfies Record<string, keyof typeof BALANCERS>

export type BalanceMode = keyof typeof BALANCERS | keyof typeof OLDER_NAMES

export const BALANCE_MODES = [
  ...Object.keys(BALANCERS),
  ...Object.keys(OLDER_NAMES)
] as BalanceMode[]

export const DEFAULT_MODE: BalanceMode = 'p2c'

/** @throws USAGE */
export function balancerOf(mode: BalanceMode): Balancer {
  if (!BALANCE_MODES.includes(mode)) {
    throw SeaportError.USAGE(
      `the mode of balancing is one of ${BALANCE_MODES.join(', ')}, not ${JSON.stringify(mode)}`
    )
  }
  return BALANCERS[
    mode in OLDER_NAMES
      ? OLDER_NAMES[mode as keyof typeof OLDER_NAMES]
      : (mode as keyof typeof BALANCERS)
  ]
}

type Order = <T extends Balanced>(group: T[], context: BalanceContext) => T[]

function inGroups(order: Order): Balancer {
  return (candidates, context) =>
    candidates.length < 2
      ? [...candidates]
      : groups(candidates, context.versions).flatMap((group) =>
          group.length === 1 ? group : order(group, context)
        )
}

/**
 * The better one of two that are chosen at random, then the other, then the rest. Nearly as even as
 * looking at all of them, and consumers that know the same do not all run to the same instance
 * (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
 */
function twoChoices<T extends Balanced>(group: T[], { random, measure }: BalanceContext): T[] {
  const shuffled = rotate(group, Math.floor(random() * group.length))
  const one = shuffled[0] as T
  const [other] = shuffled.splice(1 + Math.floor(random() * (group.length - 1)), 1) as [T]
  const rest = shuffled.slice(1)
  return isBetter(measure(other), measure(one)) ? [other, one, ...rest] : [one, other, ...rest]
}

function isBetter(a: Measurement, b: Measurement): boolean {
  // An instance without a measured latency is compared by its streams alone, so it is neither avoided nor overrun.
  if (a.latency === null || b.latency === null) return a.inFlight < b.inFlight
  return (a.inFlight + 1) * a.latency < (b.inFlight + 1) * b.latency
}

/**
 * Each consumer draws lots for all instances, and the highest comes first: when an instance leaves, only
 * those move that it had (Thaler and Ravishankar, A Name-Based Mapping Scheme for Rendezvous, 1996).
 */
function byRendezvous<T extends Balanced>(group: T[], { consumerKey }: BalanceContext): T[] {
  const seed = hash(consumerKey, FNV_OFFSET)
  return group
    .map((candidate) => ({ candidate, lot: mix(hash(candidate.servicePublicKey, seed)) }))
    .sort(
      (a, b) =>
        b.lot - a.lot || (a.candidate.servicePublicKey < b.candidate.servicePublicKey ? -1 : 1)
    )
    .map(({ candidate }) => candidate)
}

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** FNV-1a, which is quick: it is computed for every candidate of every dial. */
function hash(text: string, seed: number): number {
  let value = seed
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), FNV_PRIME)
  return value
}

/** The last steps of MurmurHash3, without which similar keys get similar lots. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

function groups<T extends Balanced>(candidates: readonly T[], versions: Versions): T[][] {
  const groups: T[][] = []
  for (const candidate of candidates) {
    const last = groups.at(-1)
    if (last?.[0] && isEqual(last[0], candidate, versions)) last.push(candidate)
    else groups.push([candidate])
  }
  return groups
}

function isEqual(a: Balanced, b: Balanced, versions: Versions): boolean {
  const areOne = versions === 'all' || a.version === b.version || (a.app && b.app)
  return Boolean(areOne) && tierOf(a) === tierOf(b)
}

function rotate<T>(group: T[], by: number): T[] {
  return [...group.slice(by), ...group.slice(0, by)]
}
