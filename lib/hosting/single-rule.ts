/** A registrar, as its certificate says. */
export interface KnownRegistrar {
  /** Its key, hex. A registrar that began anew on an empty disk has another one. */
  key: string
  /** When its certificate was renewed last, in ms since 1970. */
  renewedAt: number
  /** Whether it was struck off by `hyperseaport registrars --forget`. */
  isForgotten: boolean
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

/** A registrar that has not renewed its certificate for so long is no longer counted. */
const COUNTED_MS = 2 * 3_600_000
/**
 * For how long single instances run on without the leases, in ms. Other hosts start one 30 s after they saw the leases
 * lost.
 */
const GRACE_MS = 20_000

/** The registrars that count: a host needs leases at more than half of them. */
export function countedRegistrars(
  registrars: readonly KnownRegistrar[],
  today = Date.now()
): string[] {
  return registrars
    .filter(({ renewedAt, isForgotten }) => !isForgotten && today - renewedAt < COUNTED_MS)
    .map(({ key }) => key)
}

/**
 * Decides whether single instances, of which two must never run at once, may run on this host. They may while it holds
 * leases at more than half of the registrars, and for a short time after. Two sides of a partition cannot both have
 * that. The rule needs this process to run: a host that was stopped by SIGSTOP cannot stop its instances.
 */
export class SingleRule {
  readonly #grace: number
  /** Since when the host has not had the leases; null while it has them. */
  #lostAt: number | null = Number.NEGATIVE_INFINITY

  /** @param grace in ms */
  constructor({ grace = GRACE_MS } = {}) {
    this.#grace = grace
  }

  /**
   * @param counted keys of the registrars, as `countedRegistrars` says
   * @param leases keys of those at which this host holds a lease
   * @param now in ms, of a clock that only goes forward
   */
  look(counted: readonly string[], leases: ReadonlySet<string>, now: number): SingleRuling {
    const held = counted.filter((key) => leases.has(key)).length
    const needed = Math.floor(counted.length / 2) + 1
    if (held >= needed) {
      this.#lostAt = null
      return { mayStart: true, mustStop: false, waitsFor: null, again: null }
    }
    this.#lostAt ??= now
    const left = this.#lostAt + this.#grace - now
    return {
      mayStart: false,
      mustStop: left <= 0,
      waitsFor: `it holds leases at ${held} of ${counted.length} registrars, and needs ${needed}`,
      again: left > 0 ? left : null
    }
  }
}
