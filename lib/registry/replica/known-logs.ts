import type { Log } from '../log/log.js'
import type { LogNotice } from '../swarm/protocol.js'
import type { Certificate } from '../trust/certificate.js'
import { Certificates } from '../trust/certificates.js'
import type { Followers } from './followers.js'
import type { LiveRegistrars } from './live-registrars.js'
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

/** A log whose registrar did not renew its certificate for so long is dropped, while another is live. */
const FORGET_LOG_AFTER_MS = 30 * 24 * 60 * 60 * 1000

/** The logs that we know of: who writes each, what we and others have of it, and whether it is of any use. */
export class KnownLogs {
  readonly certificates = new Certificates()
  /** The log that this process writes. */
  own: Log | null = null
  readonly #followers: Followers
  readonly #live: LiveRegistrars

  constructor(followers: Followers, live: LiveRegistrars) {
    this.#followers = followers
    this.#live = live
  }

  views(): LogView[] {
    return [...this.certificates.values()].map(({ logKey, registrarKey }) => {
      const { applied, offered } = this.#progressOf(logKey)
      return {
        logKey,
        registrarKey,
        applied,
        offered,
        behind: Math.max(this.#followers.written(logKey) - applied, 0),
        live: this.isOwn(logKey) || this.#live.get(registrarKey)?.logKey === logKey,
        heardAt: this.#live.heardAt(registrarKey)
      }
    })
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
    const { logKey } = certificate
    const snapshot = this.#followers.snapshots.held(logKey)
    return { certificate, length: this.#lengthOf(logKey), ...(snapshot ? { snapshot } : {}) }
  }

  /** How many blocks of our own log a peer has, by what it said; 0 if it does not name the log. */
  ownLengthIn(notices: readonly LogNotice[]): number {
    const own = notices.find(({ certificate }) =>
      this.isOwn((certificate as Certificate | null)?.logKey ?? '')
    )
    return own?.length ?? 0
  }

  /** Whether a peer has more of our own log than we have. Then our folder was put back to an older state. */
  isRewound(logKey: string, length: number): boolean {
    return this.isOwn(logKey) && length > this.#lengthOf(logKey)
  }

  outdated(): Certificate[] {
    return [...this.certificates.values()].filter((certificate) => this.isOutdated(certificate))
  }

  /**
   * Whether a log is of no use any more: its registrar has begun another one that we have read, or was away for
   * very long while another registrar is live.
   */
  isOutdated({ logKey, registrarKey, startedAt, renewedAt }: Certificate): boolean {
    const live = this.certificates.get(this.#live.get(registrarKey)?.logKey ?? '')
    if (live) return live.startedAt > startedAt && isRead(this.#progressOf(live.logKey))
    const isForgotten = renewedAt < Date.now() - FORGET_LOG_AFTER_MS
    return isForgotten && this.#live.size > 0 && !this.isOwn(logKey)
  }

  #progressOf(logKey: string) {
    return { applied: this.#lengthOf(logKey), offered: this.#followers.offered(logKey) }
  }

  #lengthOf(logKey: string): number {
    return this.own?.key === logKey ? this.own.length : this.#followers.applied(logKey)
  }
}
