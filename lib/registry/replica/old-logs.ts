import { EventEmitter } from 'node:events'
import type { SeaportError } from '../../core/errors.js'
import type { Peering } from '../swarm/peering.js'
import type { Certificate } from '../trust/certificate.js'
import type { Statement } from '../trust/statement.js'
import type { Followers } from './followers.js'
import type { KnownLogs } from './known-logs.js'
import type { Recollection } from './recollection.js'
import type { StatementSources } from './statement-sources.js'

export interface OldLogsOptions {
  logs: KnownLogs
  sources: StatementSources
  followers: Followers
  peering: Peering
  memory: Recollection
  /** Has a registrar write a statement. */
  put: (statement: Statement) => Promise<void>
  /** How long to wait at most until statements are put, so that not all who have them do so at once, in ms. */
  spread?: number | undefined
}

const SPREAD_MS = 10_000

/**
 * Drops logs that are of no use any more. One that has ended and alone holds a statement, a grant perhaps, is kept; but no
 * newcomer follows it. So a live registrar is asked to write what only such a log says; then it can go, too. Emits `notice`.
 */
export class OldLogs extends EventEmitter<{ notice: [SeaportError] }> {
  readonly #options: OldLogsOptions
  /** Signatures of statements that the registrars that are here were asked to write. */
  readonly #asked = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #isRescuing = false
  #isClosed = false

  constructor(options: OldLogsOptions) {
    super()
    this.#options = options
  }

  /**
   * To be called after something was read, written or connected.
   *
   * @param isRegistrarNew whether there is a registrar that was not asked yet
   */
  review(isRegistrarNew = false) {
    const { logs, spread = SPREAD_MS } = this.#options
    if (isRegistrarNew) this.#asked.clear()
    for (const certificate of logs.superfluous()) this.#drop(certificate)
    if (this.#timer || this.#isRescuing || this.#isClosed || this.#orphans().length === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.#rescue()
    }, Math.random() * spread)
  }

  close() {
    this.#isClosed = true
    if (this.#timer) clearTimeout(this.#timer)
  }

  #drop({ logKey, registrarKey }: Certificate) {
    const { logs, followers, peering, memory } = this.#options
    logs.certificates.delete(logKey)
    if (!logs.certificates.ofRegistrar(registrarKey)) peering.removeRegistrar(registrarKey)
    followers.drop(logKey).catch((notice) => this.emit('notice', notice))
    memory.saveSoon()
  }

  /** A registrar copies all statements into its own log, and asks nobody. */
  #orphans(): Statement[] {
    const { logs, sources } = this.#options
    const kept = logs.own ? [] : logs.keptForStatements()
    if (kept.length === 0 || !logs.isLiveRead) return []
    return kept
      .flatMap(({ logKey }) => sources.heldAlone(logKey))
      .filter(({ signature }) => !this.#asked.has(signature))
  }

  async #rescue() {
    this.#isRescuing = true
    for (const statement of this.#orphans()) {
      if (this.#isClosed) break
      // Where it is taken, the registrar's log will show it.
      this.#asked.add(statement.signature)
      await this.#options.put(statement).catch((error: SeaportError) => {
        if (error.code === 'REGISTRAR_NOT_FOUND') this.#asked.delete(statement.signature)
      })
    }
    this.#isRescuing = false
  }
}
