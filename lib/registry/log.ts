import { Hyperbee, type Hypercore, ReadyResource } from '../holepunch.js'
import { type LogEntry, recordOf } from './record.js'

/**
 * A registrar's own log: a Hyperbee with one entry per instance. Entries that come while others are
 * being written leave together in the next batch (group commit).
 */
export class Log extends ReadyResource {
  readonly stats = { writes: 0, batches: 0 }

  readonly #bee: Hyperbee<LogEntry>
  readonly #entries = new Map<string, Placed>()
  #queue: Write[] = []
  #writing: Promise<void> | null = null

  constructor(core: Hypercore) {
    super()
    this.#bee = logBee(core)
  }

  override async _open() {
    await this.#bee.ready()
    for await (const { key: place, value } of this.#bee.createReadStream()) {
      const key = recordOf(value).key
      // A crash between the two halves of a move cannot happen (one batch), but an old folder may hold both.
      const known = this.#entries.get(key)
      if (!known || recordOf(known.entry).seq <= recordOf(value).seq)
        this.#entries.set(key, { place, entry: value })
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
    return this.#entries.get(key)?.entry ?? null
  }

  entries(): LogEntry[] {
    return [...this.#entries.values()].map(({ entry }) => entry)
  }

  /** Resolves once the entry would survive a crash of this process. */
  put(entry: LogEntry): Promise<void> {
    const place = placeOf(entry)
    const { key } = recordOf(entry)
    const before = this.#entries.get(key)
    this.#entries.set(key, { place, entry })
    this.stats.writes++
    return new Promise((resolve, reject) => {
      this.#queue.push({ key, place, entry, before, resolve, reject })
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
        for (const { place, entry, before } of writes) {
          if (before && before.place !== place) await batch.del(before.place)
          await batch.put(place, entry)
        }
        await batch.flush()
        this.stats.batches++
        for (const { resolve } of writes) resolve()
      } catch (error) {
        for (const write of writes.reverse()) this.#undo(write, error)
      }
    }
  }

  /** What was not written was not said. */
  #undo({ key, before, reject }: Write, error: unknown) {
    if (before) this.#entries.set(key, before)
    else this.#entries.delete(key)
    reject(error)
  }
}

interface Placed {
  /** Its key in the bee; role and version are part of it. */
  place: string
  entry: LogEntry
}

interface Write extends Placed {
  key: string
  /** What the instance's entry was; at another place if its role or version changed. */
  before: Placed | undefined
  resolve: () => void
  reject: (error: unknown) => void
}

/** Opens a log, own or another's, as any Hyperbee tool would. */
export function logBee(core: Hypercore): Hyperbee<LogEntry> {
  return new Hyperbee<LogEntry>(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
}

/** The instance that a place in a log is for. */
export function instanceAt(place: string): string {
  return place.slice(place.lastIndexOf('/') + 1)
}

function placeOf(entry: LogEntry): string {
  const { role, version, key } = recordOf(entry)
  return `instance/${role}/${version}/${key}`
}
