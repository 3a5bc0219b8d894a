/** A registrar, as its certificates say. */
export interface KnownRegistrar {
  /** Its key, hex. A registrar that began anew on an empty disk has another one. */
  registrarKey: string
  /** When its certificate was renewed last, in ms since 1970. */
  renewedAt: number
  /** Whether it was struck off by `hyperseaport registrars --forget`. */
  isForgotten: boolean
}

/** The leases of a host, or of an instance. */
export interface HeldLeases {
  /** Keys of the registrars that hold one. */
  held: ReadonlySet<string>
  /** When a registrar was last heard of, by the clock of `now`. */
  heardAt: (registrarKey: string) => number
}

export interface SingleRuling {
  /** Whether single instances may be started here. */
  mayStart: boolean
  /** Whether those that run here have to end at once. */
  mustStop: boolean
  /** What is missing, for people to read; null if nothing is. */
  waitsFor: string | null
  /** When to ask again at the latest, in ms, if nothing changes before; null for never. */
  again: number | null
}

/** A registrar that has not renewed its certificate for so long is no longer counted, if most others were there. */
const COUNTED_MS = 2 * 3_600_000
/**
 * For how long single instances run on without the leases, in ms. Other hosts start one 30 s after they saw the leases
 * lost.
 */
const GRACE_MS = 20_000
const SHOWN_KEY_LENGTH = 8

/**
 * The registrars that count: a host needs leases at more than half of them. One that was away for two hours counts no
 * longer if more than half of all were there after that. So of a network that is divided for long, only the larger part
 * forgets the others. Where half or more are gone, somebody has to strike them off.
 *
 * @param held keys of those that hold a lease of ours
 */
export function countedRegistrars(
  registrars: readonly KnownRegistrar[],
  held: ReadonlySet<string>,
  today = Date.now()
): string[] {
  const counted = registrars
    .filter(({ isForgotten }) => !isForgotten)
    .sort((a, b) => a.renewedAt - b.renewedAt)
  for (let oldest = counted[0]; oldest; oldest = counted[0]) {
    const end = oldest.renewedAt + COUNTED_MS
    const survivors = counted.filter(({ renewedAt }) => renewedAt >= end).length
    const isAway = today >= end && !held.has(oldest.registrarKey)
    if (!isAway || 2 * survivors <= counted.length) break
    counted.shift()
  }
  return counted.map(({ registrarKey }) => registrarKey)
}

/**
 * Decides whether single instances, of which two must never run at once, may run on this host. They may while it holds
 * leases at more than half of the registrars, and for a short time after. Two sides of a partition cannot both have
 * that. The rule needs this process to run: a host that was stopped by SIGSTOP cannot stop its instances.
 */
export class SingleRule {
  readonly #grace: number
  readonly #since: number
  /** When each registrar was last known to hold a lease. */
  readonly #heldAt = new Map<string, number>()
  #held: ReadonlySet<string> = new Set()

  /**
   * @param grace in ms
   * @param since what runs counts as having had all leases then
   */
  constructor({ grace = GRACE_MS, since = Number.NEGATIVE_INFINITY } = {}) {
    this.#grace = grace
    this.#since = since
  }

  /** Registrars at which a lease was held of late. */
  get remembered(): number {
    return this.#heldAt.size
  }

  /**
   * @param counted keys of the registrars, as `countedRegistrars` says
   * @param now in ms, of a clock that only goes forward
   */
  look(counted: readonly string[], { held, heardAt }: HeldLeases, now: number): SingleRuling {
    // The lease was there until the registrar was last heard of: that it is lost is noticed later.
    for (const key of [...this.#held, ...held]) this.#heldAt.set(key, heardAt(key))
    this.#held = new Set(held)
    const needed = Math.floor(counted.length / 2) + 1
    const missing = counted.filter((key) => !held.has(key))
    const hasMost = counted.length - missing.length >= needed
    const times = counted.map((key) => this.#heldAt.get(key) ?? this.#since).sort((a, b) => b - a)
    const left = (times[needed - 1] ?? Number.NEGATIVE_INFINITY) + this.#grace - now
    // What is as long ago changes nothing any more.
    for (const [key, at] of this.#heldAt) {
      if (Math.max(at, this.#since) + this.#grace <= now) this.#heldAt.delete(key)
    }
    return {
      mayStart: hasMost && left > 0,
      mustStop: left <= 0,
      waitsFor: hasMost ? null : textOf(missing, counted.length, needed),
      again: left > 0 && Number.isFinite(left) ? left : null
    }
  }
}

function textOf(missing: readonly string[], all: number, needed: number): string {
  const keys = missing.map((key) => `${key.slice(0, SHOWN_KEY_LENGTH)}…`).join(', ')
  const which = all === 0 ? '' : `: not at ${keys}`
  return `it holds leases at ${all - missing.length} of ${all} registrars, and needs ${needed}${which}`
}
