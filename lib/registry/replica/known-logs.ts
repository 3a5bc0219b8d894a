import type { Log } from '../log/log.js'
import type { LogNotice } from '../swarm/protocol.js'
import type { Certificate } from '../trust/certificate.js'
import { Certificates } from '../trust/certificates.js'
import { FORGOTTEN } from '../trust/forgotten.js'
import type { Statements } from '../trust/statements.js'
import type { Followers } from './followers.js'
import type { LiveRegistrars } from './live-registrars.js'
import type { StatementSources } from './statement-sources.js'
import { isRead, type Progress } from './sync.js'

/** One registrar's log, and how fresh our copy of it is. Keys are hex. */
export interface LogView extends Progress {
  logKey: string
  registrarKey: string
  /** Blocks that were written, as far as we know, and are not in the directory yet. */
  behind: number
  /** When its registrar was last live, in ms since 1970; null if not in this run. */
  heardAt: number | null
}

/** A registrar that certificates name. */
export interface RegistrarView {
  /** Its swarm key, hex. */
  registrarKey: string
  /** When the oldest of its logs that is known here began, in ms since 1970. */
  since: number
  /** When it renewed its certificate last, in ms since 1970. */
  renewedAt: number
  /** Whether it is heard of now. */
  live: boolean
  /** Whether it was struck off as gone for good. */
  isForgotten: boolean
}

export interface KnownLogsOptions {
  followers: Followers
  live: LiveRegistrars
  statements: Statements
  sources: StatementSources
  /** Whether there is a connection to a registrar. It may not have pinged yet. */
  isConnected: (registrarKey: string) => boolean
}

/** A participant follows so many logs at most. */
export const MAX_LOGS = 64
/**
 * How long a registrar looks for the rest of a log of its own, in ms. Where its folder is a copy or was restored from a
 * backup, it has the beginning only, and others may have what was written since.
 */
const LEFTOVER_MS = 60_000
/** How long a registrar that we heard of may take to come back and renew its certificate, in ms. */
const RETURN_MS = 10 * 60 * 1000

/** The logs that we know of: who writes each, what we and others have of it, and whether it is of any use. */
export class KnownLogs {
  readonly certificates = new Certificates()
  readonly #options: KnownLogsOptions
  #own: Log | null = null
  /** Logs of our own that were read to their end and dropped. */
  readonly #finished = new Set<string>()
  /** When we began our own log, by `performance.now()`. */
  #ownSince = 0

  constructor(options: KnownLogsOptions) {
    this.#options = options
  }

  /** The log that this process writes. */
  get own(): Log | null {
    return this.#own
  }

  set own(log: Log | null) {
    this.#own = log
    this.#ownSince = performance.now()
  }

  views(): LogView[] {
    const { live, followers } = this.#options
    return [...this.certificates.values()].map(({ logKey, registrarKey }) => {
      const { applied, offered } = this.#progressOf(logKey)
      return {
        logKey,
        registrarKey,
        applied,
        offered,
        behind: Math.max(followers.written(logKey) - applied, 0),
        live: this.#isLive(logKey, registrarKey),
        heardAt: live.heardAt(registrarKey)
      }
    })
  }

  /** All registrars that certificates name, each once. */
  registrars(): RegistrarView[] {
    const found = new Map<string, RegistrarView>()
    for (const { registrarKey, logKey, startedAt, renewedAt } of this.certificates.values()) {
      const known = found.get(registrarKey)
      found.set(registrarKey, {
        registrarKey,
        since: Math.min(startedAt, known?.since ?? startedAt),
        renewedAt: Math.max(renewedAt, known?.renewedAt ?? renewedAt),
        live: this.#isLive(logKey, registrarKey) || known?.live === true,
        isForgotten: this.#options.statements.get(FORGOTTEN, registrarKey) !== null
      })
    }
    return [...found.values()]
  }

  isOwn(logKey: string): boolean {
    return logKey === this.own?.key
  }

  /** The key of the registrar that writes a log, null if it has begun another. */
  writerOf(logKey: string): string | null {
    const registrarKey = this.certificates.get(logKey)?.registrarKey ?? ''
    return this.certificates.ofRegistrar(registrarKey)?.logKey === logKey ? registrarKey : null
  }

  /** What we tell others of each log. */
  notices(): LogNotice[] {
    return [...this.certificates.values()].map((certificate) => this.noticeOf(certificate))
  }

  noticeOf(certificate: Certificate): LogNotice {
    const { followers } = this.#options
    const { logKey } = certificate
    const snapshot = followers.snapshots.held(logKey)
    const head = this.isOwn(logKey) ? this.own?.head : followers.head(logKey)
    return {
      certificate,
      length: this.#lengthOf(logKey),
      ...(head ? { head } : {}),
      ...(snapshot ? { snapshot } : {})
    }
  }

  /**
   * Whether to follow the log of a certificate. One that has ended is passed over, and so is a worse one than the
   * many that we follow already.
   *
   * @param isFromItsRegistrar whether the registrar itself said so, which is connected then
   */
  isWanted(certificate: Certificate, isFromItsRegistrar: boolean): boolean {
    if (this.certificates.has(certificate.logKey) || this.isOwn(certificate.logKey)) return true
    if (isFromItsRegistrar) return true
    if (this.#finished.has(certificate.logKey)) return false
    if (this.#isEnded(certificate) || this.#isSuperseded(certificate)) return false
    if (this.certificates.size < MAX_LOGS) return true
    const worst = this.#ranked().at(-1)
    return worst !== undefined && this.#worth(worst) < certificate.renewedAt
  }

  /** The logs that are of no use any more, and those that are too many. */
  superfluous(): Certificate[] {
    const kept: Certificate[] = []
    const dropped: Certificate[] = []
    for (const certificate of this.#ranked()) {
      if (kept.length >= MAX_LOGS || this.#isUseless(certificate)) dropped.push(certificate)
      else kept.push(certificate)
    }
    for (const one of dropped) if (this.#isFormer(one)) this.#finished.add(one.logKey)
    return dropped
  }

  /** Logs that are followed only because they alone hold statements. Whoever does not follow them does not begin to. */
  keptForStatements(): Certificate[] {
    return [...this.certificates.values()].filter((certificate) => this.#isOver(certificate))
  }

  /** Whether a live registrar is there, and all is read that live ones wrote. */
  get isLiveRead(): boolean {
    const live = this.views().filter((log) => log.live)
    return live.length > 0 && live.every(isRead)
  }

  /** Best first. */
  #ranked(): Certificate[] {
    const all = [...this.certificates.values()]
    if (all.length <= MAX_LOGS) return all
    const worth = new Map(all.map((certificate) => [certificate, this.#worth(certificate)]))
    return all.sort((a, b) => (worth.get(b) ?? 0) - (worth.get(a) ?? 0))
  }

  /** Logs in use are worth most, then those that alone hold a statement, then the newest. */
  #worth(certificate: Certificate): number {
    if (this.#isInUse(certificate)) return Infinity
    const { logKey, renewedAt } = certificate
    return this.#options.sources.holdsAlone(logKey) ? Number.MAX_VALUE : renewedAt
  }

  #isUseless(certificate: Certificate): boolean {
    if (this.#isInUse(certificate)) return false
    if (this.#isLeftover(certificate)) return true
    return this.#isOver(certificate) && !this.#options.sources.holdsAlone(certificate.logKey)
  }

  /** Whether its registrar is here, and writes this one. Then it counts whatever its certificate says. */
  #isInUse({ logKey, registrarKey }: Certificate): boolean {
    if (this.#isLive(logKey, registrarKey)) return true
    return this.writerOf(logKey) !== null && this.#options.isConnected(registrarKey)
  }

  /** Whether nobody is to follow it any more: its registrar has begun another one, or its certificate has ended. */
  #isOver(certificate: Certificate): boolean {
    if (this.#isInUse(certificate)) return false
    return this.#isSuperseded(certificate) || this.#isEnded(certificate)
  }

  /** Whether a log's registrar is connected and writes this one, or is this process. */
  #isLive(logKey: string, registrarKey: string): boolean {
    return this.isOwn(logKey) || this.#options.live.get(registrarKey)?.logKey === logKey
  }

  /**
   * Compared with the newest date that the registry signed, not our clock. The newest log never ends: where all registrars
   * are gone, it is all there is. Nor does one of a registrar heard of in the last ten minutes: else one whose clock is
   * years ahead would end all others at once.
   */
  #isEnded(certificate: Certificate): boolean {
    const { endsAt, logKey, registrarKey } = certificate
    if (this.#options.live.wasHeardWithin(RETURN_MS, registrarKey)) return false
    return (
      endsAt < this.#options.statements.dates.newest && this.certificates.newest?.logKey !== logKey
    )
  }

  /** Whether its registrar has begun another one that we have read. */
  #isSuperseded({ logKey, registrarKey, startedAt }: Certificate): boolean {
    const live = this.certificates.get(this.#options.live.get(registrarKey)?.logKey ?? '')
    if (live) return live.startedAt > startedAt && isRead(this.#progressOf(live.logKey))
    const { followers } = this.#options
    if (!this.#isFormer({ logKey, registrarKey }) || !followers.has(logKey)) return false
    return isRead({ applied: followers.applied(logKey), offered: followers.written(logKey) })
  }

  /**
   * One of our own, from before our folder was copied or restored, that we could not read to its end: what was written
   * since is on a disk that is gone, or with nobody who can be found.
   */
  #isLeftover(certificate: Certificate): boolean {
    return this.#isFormer(certificate) && performance.now() - this.#ownSince > LEFTOVER_MS
  }

  /** Whether this process wrote it before. */
  #isFormer({ logKey, registrarKey }: Pick<Certificate, 'logKey' | 'registrarKey'>): boolean {
    const own = this.certificates.get(this.own?.key ?? '')
    return own !== undefined && own.registrarKey === registrarKey && own.logKey !== logKey
  }

  #progressOf(logKey: string) {
    return { applied: this.#lengthOf(logKey), offered: this.#options.followers.offered(logKey) }
  }

  #lengthOf(logKey: string): number {
    return this.own?.key === logKey ? this.own.length : this.#options.followers.applied(logKey)
  }
}
