import { Hyperbee, type Hypercore, ReadyResource } from '../holepunch.js'
import { type GrantStatement, isGrantStatement, isRevocation } from './grant.js'
import { type LogEntry, recordOf } from './record.js'
import { type Change, TreeWriter } from './tree-writer.js'

/** What stands in a log. */
export type LogValue = LogEntry | GrantStatement

/** Overwritten blocks before it is worth while to clear them, at least and per entry. */
const MIN_GARBAGE = 5000
const GARBAGE_PER_ENTRY = 4

/**
 * A registrar's own log: a Hyperbee with one entry per instance, and the grants. Entries that come while others are
 * being written leave together in the next batch (group commit). Emits `conflict` when others turn out to have
 * another log under its key; nothing can be written then.
 */
export class Log extends ReadyResource {
  readonly stats = { writes: 0, batches: 0, tidied: 0 }

  readonly #bee: Hyperbee<LogValue>
  readonly #tree: TreeWriter<LogValue>
  readonly #values = new Map<string, LogValue>()
  readonly #compact: () => Promise<unknown>
  #queue: Write[] = []
  #onwritten: (values: LogValue[]) => void = () => {}
  /** Blocks before this are cleared of what no version in use needs. */
  #cleared = 0
  #writing: Promise<void> | null = null

  /** @param compact gives the disk back what was cleared */
  constructor(core: Hypercore, compact: () => Promise<unknown> = async () => {}) {
    super()
    this.#bee = logBee(core)
    this.#tree = new TreeWriter(this.#bee)
    this.#compact = compact
    core.on('conflict', () => this.emit('conflict'))
  }

  override async _open() {
    await this.#bee.ready()
    for await (const { value } of this.#bee.createReadStream()) this.#values.set(idOf(value), value)
  }

  override async _close() {
    await this.#writing
    await this.#bee.close()
  }

  get length(): number {
    return this.#bee.core.length
  }

  /** Calls back with what was written, once it is. */
  watch(onwritten: (values: LogValue[]) => void) {
    this.#onwritten = onwritten
  }

  /** What the log says of an instance, writes that are under way included. */
  get(key: string): LogEntry | null {
    const value = this.#values.get(key)
    return value === undefined || isGrantStatement(value) ? null : value
  }

  /** Whether a grant or revocation, or a later one in its place, is there. */
  has(statement: GrantStatement): boolean {
    const value = this.#values.get(idOf(statement))
    return value !== undefined && isGrantStatement(value) && value.issuedAt >= statement.issuedAt
  }

  /** What the log says of all instances. */
  entries(): LogEntry[] {
    return this.values().filter((value): value is LogEntry => !isGrantStatement(value))
  }

  values(): LogValue[] {
    return [...this.#values.values()]
  }

  /** Resolves once the value would survive a crash of this process. */
  put(value: LogValue): Promise<void> {
    const id = idOf(value)
    const before = this.#values.get(id)
    this.#values.set(id, value)
    this.stats.writes++
    return new Promise((resolve, reject) => {
      this.#queue.push({ id, value, before, resolve, reject })
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
        await this.#tree.write(writes.flatMap(changesOf))
        this.stats.batches++
        this.#onwritten(writes.map(({ value }) => value))
        for (const { resolve } of writes) resolve()
      } catch (error) {
        for (const write of writes.reverse()) this.#undo(write, error)
      }
      if (this.#hasMuchGarbage && !this.closing) await this.#tidy()
    }
  }

  get #hasMuchGarbage(): boolean {
    const garbage = this.length - this.#cleared - this.#values.size
    return garbage > MIN_GARBAGE && garbage > this.#values.size * GARBAGE_PER_ENTRY
  }

  /** Forgets overwritten versions. Readers that still wanted them read the newest instead. */
  async #tidy() {
    this.#cleared = await this.#bee.clearUnlinked({ gte: this.#cleared })
    await this.#compact()
    this.stats.tidied++
  }

  /** What was not written was not said. */
  #undo({ id, before, reject }: Write, error: unknown) {
    if (before) this.#values.set(id, before)
    else this.#values.delete(id)
    reject(error)
  }
}

interface Write {
  id: string
  value: LogValue
  /** What the instance's entry was; at another place if its role or version changed. */
  before: LogValue | undefined
  resolve: () => void
  reject: (error: unknown) => void
}

function changesOf({ value, before }: Write): Change<LogValue>[] {
  const place = placeOf(value)
  const left = before && placeOf(before)
  return left && left !== place
    ? [
        [left, null],
        [place, value]
      ]
    : [[place, value]]
}

/** Opens a log, own or another's, as any Hyperbee tool would. */
export function logBee(core: Hypercore): Hyperbee<LogValue> {
  return new Hyperbee<LogValue>(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
}

/** Takes values of a log apart: the entries, each with the instance's key, and the grants. */
export function sortOut(values: readonly LogValue[]): {
  entries: [key: string, entry: LogEntry][]
  grants: GrantStatement[]
} {
  const entries: [string, LogEntry][] = []
  const grants: GrantStatement[] = []
  for (const value of values) {
    if (isGrantStatement(value)) grants.push(value)
    else entries.push([recordOf(value).key, value])
  }
  return { entries, grants }
}

/** The instance that a place in a log is for, null if it is for a grant. */
export function instanceAt(place: string): string | null {
  return place.startsWith('instance/') ? place.slice(place.lastIndexOf('/') + 1) : null
}

/** Its key in the bee. */
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
