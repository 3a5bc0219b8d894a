import { Hyperbee, type Hypercore, ReadyResource } from '../holepunch.js'
import { type GrantStatement, isGrantStatement, isRevocation } from './grant.js'
import { type LogEntry, recordOf } from './record.js'

/** What stands in a log. */
export type LogValue = LogEntry | GrantStatement

/** Overwritten blocks before it is worth while to clear them, at least and per entry. */
const MIN_GARBAGE = 5000
const GARBAGE_PER_ENTRY = 4

/**
 * A registrar's own log: a Hyperbee with one entry per instance, and the grants. Entries that come while others are
 * being written leave together in the next batch (group commit).
 */
export class Log extends ReadyResource {
  readonly stats = { writes: 0, batches: 0, tidied: 0 }

  readonly #bee: Hyperbee<LogValue>
  readonly #entries = new Map<string, Placed>()
  readonly #compact: () => Promise<unknown>
  #queue: Write[] = []
  /** Blocks before this are cleared of what no version in use needs. */
  #cleared = 0
  #writing: Promise<void> | null = null

  /** @param compact gives the disk back what was cleared */
  constructor(core: Hypercore, compact: () => Promise<unknown> = async () => {}) {
    super()
    this.#bee = logBee(core)
    this.#compact = compact
  }

  override async _open() {
    await this.#bee.ready()
    for await (const { key: place, value } of this.#bee.createReadStream()) {
      this.#entries.set(idOf(value), { place, value })
    }
  }

  override async _close() {
    await this.#writing
    await this.#bee.close()
  }

  get length(): number {
    return this.#bee.core.length
  }

  /** What the log says of an instance, writes that are under way included. */
  get(key: string): LogEntry | null {
    const value = this.#entries.get(key)?.value
    return value === undefined || isGrantStatement(value) ? null : value
  }

  /** Whether a grant or revocation, or a later one in its place, is there. */
  has(statement: GrantStatement): boolean {
    const value = this.#entries.get(idOf(statement))?.value
    return value !== undefined && isGrantStatement(value) && value.issuedAt >= statement.issuedAt
  }

  /** What the log says of all instances. */
  entries(): LogEntry[] {
    return this.values().filter((value): value is LogEntry => !isGrantStatement(value))
  }

  values(): LogValue[] {
    return [...this.#entries.values()].map(({ value }) => value)
  }

  /** Resolves once the value would survive a crash of this process. */
  put(value: LogValue): Promise<void> {
    const place = placeOf(value)
    const id = idOf(value)
    const before = this.#entries.get(id)
    this.#entries.set(id, { place, value })
    this.stats.writes++
    return new Promise((resolve, reject) => {
      this.#queue.push({ id, place, value, before, resolve, reject })
      this.#writing ??= this.#write().finally(() => {
        this.#writing = null
      })
    })
  }

  async #write() {
    while (this.#queue.length > 0) {
      const writes = this.#queue
      this.#queue = []
      try {
        const batch = this.#bee.batch()
        for (const { place, value, before } of writes) {
          if (before && before.place !== place) await batch.del(before.place)
          await batch.put(place, value)
        }
        await batch.flush()
        this.stats.batches++
        for (const { resolve } of writes) resolve()
      } catch (error) {
        for (const write of writes.reverse()) this.#undo(write, error)
      }
      if (this.#hasMuchGarbage && !this.closing) await this.#tidy()
    }
  }

  get #hasMuchGarbage(): boolean {
    const garbage = this.length - this.#cleared - this.#entries.size
    return garbage > MIN_GARBAGE && garbage > this.#entries.size * GARBAGE_PER_ENTRY
  }

  /** Forgets overwritten versions. Readers that still wanted them read the newest instead. */
  async #tidy() {
    this.#cleared = await this.#bee.clearUnlinked({ gte: this.#cleared })
    await this.#compact()
    this.stats.tidied++
  }

  /** What was not written was not said. */
  #undo({ id, before, reject }: Write, error: unknown) {
    if (before) this.#entries.set(id, before)
    else this.#entries.delete(id)
    reject(error)
  }
}

interface Placed {
  /** Its key in the bee; role and version are part of it. */
  place: string
  value: LogValue
}

interface Write extends Placed {
  id: string
  /** What the instance's entry was; at another place if its role or version changed. */
  before: Placed | undefined
  resolve: () => void
  reject: (error: unknown) => void
}

/** Opens a log, own or another's, as any Hyperbee tool would. */
export function logBee(core: Hypercore): Hyperbee<LogValue> {
  return new Hyperbee<LogValue>(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
}

/** The instance that a place in a log is for, null if it is for a grant. */
export function instanceAt(place: string): string | null {
  return place.startsWith('instance/') ? place.slice(place.lastIndexOf('/') + 1) : null
}

function placeOf(value: LogValue): string {
  if (isGrantStatement(value)) {
    return `${isRevocation(value) ? 'revocation' : 'grant'}/${value.subject}/${value.issuer}`
  }
  const { role, version, key } = recordOf(value)
  return `instance/${role}/${version}/${key}`
}

/** An instance keeps its entry when its place changes. */
function idOf(value: LogValue): string {
  return isGrantStatement(value) ? placeOf(value) : recordOf(value).key
}
