import semver from 'semver'
import type { InstanceRule } from '../trust/instance-rule.js'
import { isGone, isStale, type LogEntry, recordOf, verifyRecord } from '../trust/record.js'
import { type Instance, statusOf, toInstance } from './instance.js'

export type { Instance } from './instance.js'

export type DirectoryChange = 'up' | 'update' | 'down'

export type DirectoryListener = (change: DirectoryChange, instance: Instance) => void

/** How many versions of a role a range may choose from. */
export type Versions = 'newest' | 'all'

/** So many answers, each for one range, are cached for a role: callers choose the ranges. */
const MAX_ANSWERS = 64

/**
 * The merge of all logs, in memory. Of each instance the highest sequence number wins; at the same:
 * present in a live log, over gone in a live log, over stale in one, over present in a dead log. Everything in it was
 * signed by its owner; signatures are verified when an entry is first used.
 */
export class Directory {
  /** Entries by log, then by instance. */
  readonly #logs = new Map<string, Map<string, Entry>>()
  readonly #live = new Set<string>()
  /** Keys of instances by role. An instance that changed its role is listed under both. */
  readonly #roles = new Map<string, Role>()
  /** The entry that counts for each instance. It is found when somebody first asks. */
  readonly #winners = new Map<string, Candidate | null>()
  readonly #listeners = new Set<DirectoryListener>()
  /** Each instance as the listeners were last told of it. */
  readonly #told = new Map<string, Instance>()
  readonly #rule: InstanceRule | null
  #isClosed = false

  /** @param rule which records count. Default: all */
  constructor(rule: InstanceRule | null = null) {
    this.#rule = rule
    rule?.watch((role) => {
      for (const key of this.#roles.get(role)?.keys ?? []) {
        this.#forgetAnswers(key)
        this.#tell(key)
      }
    })
  }

  /**
   * Calls the listener after each change, until the function that this returns is called. What is
   * there already is not told: `list` it.
   */
  watch(listener: DirectoryListener): () => void {
    if (this.#listeners.size === 0) {
      this.#told.clear()
      for (const instance of this.#all()) this.#told.set(instance.servicePublicKey, instance)
    }
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** From now on no change is told: that whoever closes loses its registrars is no news of the instances. */
  close() {
    this.#isClosed = true
  }

  /** Number of instances that are present. */
  get size(): number {
    return this.#all().length
  }

  /**
   * Takes what one log says of some instances.
   *
   * @param valid whether the owners' signatures are known to hold
   */
  apply(log: string, changes: Iterable<[key: string, entry: LogEntry]>, valid?: true) {
    const entries = this.#entriesOf(log)
    for (const [key, entry] of changes) {
      this.#forgetAnswers(key)
      entries.set(key, { entry, valid })
      this.#roleOf(entry).keys.add(key)
      this.#forgetAnswers(key)
      this.#tell(key)
    }
  }

  /** Removes a log's entries of all instances but these. */
  retain(log: string, keys: ReadonlySet<string>) {
    const entries = this.#entriesOf(log)
    for (const key of [...entries.keys()]) {
      if (keys.has(key)) continue
      this.#forgetAnswers(key)
      this.#remove(entries, key)
      this.#tell(key)
    }
  }

  /** Forgets a log. */
  drop(log: string) {
    this.#live.delete(log)
    this.retain(log, new Set())
    this.#logs.delete(log)
  }

  /** Says whether the registrar of a log is connected. */
  setLive(log: string, live: boolean) {
    if (live === this.#live.has(log)) return
    if (live) this.#live.add(log)
    else this.#live.delete(log)
    for (const key of this.#entriesOf(log).keys()) {
      this.#forgetAnswers(key)
      this.#tell(key)
    }
  }

  /**
   * The instances that match, in the order in which they should be tried: by tier, then the newer version,
   * then by key.
   *
   * @param range an npm semver range; prereleases match by npm's rules
   */
  resolve(role: string, range: string, versions: Versions = 'newest'): readonly Instance[] {
    const known = this.#roles.get(role)
    if (!known) return []
    const answers = known.answers[versions]
    const answered = answers.get(range)
    if (answered) return answered
    const answer = this.#match(role, known, range, versions)
    if (answers.size >= MAX_ANSWERS) answers.clear()
    answers.set(range, answer)
    return answer
  }

  /** All instances, by role, newest version first. */
  list(): Instance[] {
    return this.#all().sort((a, b) => compare(a.role, b.role) || byVersion(a, b) || byKey(a, b))
  }

  /** The names of all roles that have an instance. */
  roles(): string[] {
    return [...new Set(this.#all().map(({ role }) => role))].sort()
  }

  /** An instance, if it is present. */
  get(key: string): Instance | null {
    return this.#instance(key)
  }

  /** The status that `get` would give, without making an instance: for callers that ask all the time. */
  statusOf(key: string): Instance['status'] | null {
    const winner = this.#present(key)
    return winner && statusOf(winner.entry)
  }

  /** The versions of a role that any log knows, those of instances that are gone included. */
  knownVersions(role: string): string[] {
    const versions = new Set<string>()
    for (const key of this.#roles.get(role)?.keys ?? []) {
      const entry = this.entry(key)
      if (entry && recordOf(entry).role === role) versions.add(recordOf(entry).version)
    }
    return [...versions]
  }

  /** The entry that counts for an instance, from whichever log. */
  entry(key: string): LogEntry | null {
    return this.#winner(key)?.entry ?? null
  }

  /** The key of the log that has the entry which counts for an instance. */
  logOf(key: string): string | null {
    return this.#winner(key)?.log ?? null
  }

  /**
   * The entry in a live log other than this one which says that an instance is gone; null if there is none.
   */
  goneElsewhere(key: string, log: string): LogEntry | null {
    for (const other of this.#live) {
      const source = other === log ? undefined : this.#logs.get(other)?.get(key)
      if (source && isGone(source.entry) && isValid(source)) return source.entry
    }
    return null
  }

  /** The highest sequence number known of a key, 0 if none. */
  highestSeq(key: string): number {
    const entry = this.entry(key)
    return entry === null ? 0 : recordOf(entry).seq
  }

  #match(name: string, role: Role, range: string, versions: Versions): Instance[] {
    const wanted = new semver.Range(range)
    const matching = this.#instances(role.keys).filter(
      (instance) => instance.role === name && wanted.test(instance.version)
    )
    const byPreference =
      versions === 'all' ? byKey : (a: Instance, b: Instance) => byVersion(a, b) || byKey(a, b)
    return matching.sort((a, b) => byTier(a, b) || byPreference(a, b))
  }

  #all(): Instance[] {
    const keys = new Set<string>()
    for (const role of this.#roles.values()) for (const key of role.keys) keys.add(key)
    return this.#instances(keys)
  }

  #instances(keys: Iterable<string>): Instance[] {
    const instances: Instance[] = []
    for (const key of keys) {
      const instance = this.#instance(key)
      if (instance) instances.push(instance)
    }
    return instances
  }

  #instance(key: string): Instance | null {
    const winner = this.#present(key)
    return winner && toInstance(winner.entry, winner.live)
  }

  /** The entry that counts, if it says that there is an instance. */
  #present(key: string): Candidate | null {
    const winner = this.#winner(key)
    if (!winner || isGone(winner.entry)) return null
    return this.#rule?.counts(recordOf(winner.entry)) === false ? null : winner
  }

  #winner(key: string): Candidate | null {
    const known = this.#winners.get(key)
    if (known !== undefined) return known
    const candidates: Candidate[] = []
    for (const [log, entries] of this.#logs) {
      const source = entries.get(key)
      if (source) candidates.push({ log, entry: source.entry, live: this.#live.has(log), source })
    }
    const winner = candidates.sort(byMerge).find(({ source }) => isValid(source)) ?? null
    this.#winners.set(key, winner)
    return winner
  }

  /** Drops the cached answers that an instance has part in. */
  #forgetAnswers(key: string) {
    this.#winners.delete(key)
    for (const entries of this.#logs.values()) {
      const known = entries.get(key)
      if (known) forgetAnswers(this.#roleOf(known.entry))
    }
  }

  #entriesOf(log: string): Map<string, Entry> {
    const entries = this.#logs.get(log) ?? new Map<string, Entry>()
    this.#logs.set(log, entries)
    return entries
  }

  #roleOf(entry: LogEntry): Role {
    const { role: name } = recordOf(entry)
    const role = this.#roles.get(name) ?? newRole()
    this.#roles.set(name, role)
    return role
  }

  #remove(entries: Map<string, Entry>, key: string) {
    const removed = entries.get(key)
    if (!removed) return
    entries.delete(key)
    for (const others of this.#logs.values()) if (others.has(key)) return
    const role = this.#roleOf(removed.entry)
    role.keys.delete(key)
    this.#winners.delete(key)
    if (role.keys.size === 0) this.#roles.delete(recordOf(removed.entry).role)
  }

  #tell(key: string) {
    if (this.#isClosed || this.#listeners.size === 0) return
    const before = this.#told.get(key)
    const now = this.#instance(key)
    if (now) this.#told.set(key, now)
    else this.#told.delete(key)
    const change = changeOf(before, now)
    if (change === null) return
    for (const listener of [...this.#listeners]) listener(change, (now ?? before) as Instance)
  }
}

interface Role {
  keys: Set<string>
  /** Cached answers by range, until one of the role's instances changes. */
  answers: Record<Versions, Map<string, Instance[]>>
}

function newRole(): Role {
  return { keys: new Set(), answers: { newest: new Map(), all: new Map() } }
}

function forgetAnswers({ answers }: Role) {
  answers.newest.clear()
  answers.all.clear()
}

interface Entry {
  entry: LogEntry
  /** Whether the owner's signature holds; undefined until somebody first asks. */
  valid: boolean | undefined
}

interface Candidate {
  log: string
  entry: LogEntry
  live: boolean
  source: Entry
}

/** The merge rule, as a comparator: of two entries of one instance, the one that counts comes first. */
export function byMerge(
  a: { entry: LogEntry; live: boolean },
  b: { entry: LogEntry; live: boolean }
): number {
  return recordOf(b.entry).seq - recordOf(a.entry).seq || rank(b) - rank(a)
}

function rank({ entry, live }: { entry: LogEntry; live: boolean }): number {
  if (isStale(entry)) return live ? 3 : 1
  if (isGone(entry)) return live ? 4 : 0
  return live ? 5 : 2
}

function changeOf(before: Instance | undefined, now: Instance | null): DirectoryChange | null {
  if (!now) return before ? 'down' : null
  if (!before) return 'up'
  const isNews = now.seq !== before.seq || now.live !== before.live || now.status !== before.status
  return isNews ? 'update' : null
}

function isValid(entry: Entry): boolean {
  entry.valid ??= verifyRecord(recordOf(entry.entry))
  return entry.valid
}

/**
 * How much speaks for an instance: 0 if a live registrar vouches for it, 1 if only copies of logs know
 * it. One whose owner says that it fails is worth a try after those, one that is about to leave after
 * these. A stale one is the last resort.
 */
export function tierOf({
  live = true,
  status
}: Partial<Pick<Instance, 'live' | 'status'>>): number {
  if (status === 'failing') return 2
  if (status === 'draining') return 3
  if (status === 'stale') return 4
  return live ? 0 : 1
}

function byTier(a: Instance, b: Instance) {
  return tierOf(a) - tierOf(b)
}

function byVersion(a: Instance, b: Instance) {
  return semver.rcompare(a.version, b.version)
}

function byKey(a: Instance, b: Instance) {
  return compare(a.servicePublicKey, b.servicePublicKey)
}

function compare(a: string, b: string) {
  return a < b ? -1 : a > b ? 1 : 0
}
