import { SeaportError } from '../errors.js'
import { ReadyResource } from '../holepunch.js'
import { KeyPair, toHex } from '../keys.js'
import type { Network } from '../network.js'
import { type Certificate, checkCertificate } from './certificate.js'
import { Certificates } from './certificates.js'
import { Copies } from './copies.js'
import { Directory } from './directory.js'
import { checkGrantStatement } from './grant.js'
import type { Limits } from './limits.js'
import { LiveRegistrars } from './live-registrars.js'
import type { Log } from './log.js'
import { type LogValue, sortOut } from './log-value.js'
import { Membership } from './membership.js'
import type { Peer } from './peer.js'
import { Peering, type PeeringOptions } from './peering.js'
import type { Answer, LogNotice, Ping } from './protocol.js'
import { Replication } from './replication.js'
import { checkSnapshot, type Snapshot } from './snapshot.js'
import type { Storage } from './storage.js'
import { isRead, type Progress, Sync, type SyncOptions } from './sync.js'

/** One registrar's log, and how fresh our copy of it is. Keys are hex. */
export interface LogView extends Progress {
  logKey: string
  registrarKey: string
  /** Blocks that were written, as far as we know, and are not in the directory yet. */
  behind: number
  /** When its registrar was last live, in ms since 1970; null if not in this run. */
  heardAt: number | null
}

export interface ReplicaOptions {
  network: Network
  /** The registry's public key. */
  registry: Buffer
  /** Open, and closed by whoever opened it. */
  storage: Storage
  keyPair?: KeyPair
  membership?: Membership
  as?: PeeringOptions['as']
  replicaPeers?: PeeringOptions['replicaPeers']
  patience?: SyncOptions['patience']
  /** What it takes of others. */
  limits?: Partial<Limits> | undefined
}

/** The memory is written this long after it changed; a crash costs a rescan, no more. */
const SAVE_DELAY_MS = 1000
/** How often expired grants are looked for. */
const EXPIRY_CHECK_MS = 1000
/** How often those are looked for who hold a connection and may not. */
const SWEEP_MS = 5000
/** A log whose registrar did not renew its certificate for so long is dropped, while another is live. */
const FORGET_LOG_AFTER_MS = 30 * 24 * 60 * 60 * 1000

/**
 * A participant's copies of the logs, on disk and merged in memory, kept up to date by whoever has
 * them and served to whoever asks. Emits `registrar` (a Peer, when one is live), `registrar-lost`
 * (a Peer), `synced` (once), `applied` (more of some log was read), `entries` (what another's log says, as a list of
 * keys and entries), `peer` (a Peer), `rights` (somebody may have lost some),
 * `introduced` (a peer said what it has; of our own log so many blocks), `rewound` (a peer has more of our own log than we have),
 * `denied` (a SeaportError: we may not read) and `notice` (a SeaportError).
 */
export class Replica extends ReadyResource {
  readonly directory = new Directory()
  readonly registry: Buffer
  /** Our swarm key, hex. */
  readonly key: string
  readonly membership: Membership
  readonly peering: Peering

  readonly #storage: Storage
  readonly #certificates = new Certificates()
  readonly #copies: Copies
  readonly #live = new LiveRegistrars()
  readonly #sync: Sync
  #own: { logKey: string; log: Log } | null = null
  #replications = 0
  #copying: Replication | null = null
  readonly #timers: NodeJS.Timeout[] = []
  #stopWatching: () => void = () => {}
  #saveTimer: NodeJS.Timeout | null = null

  constructor({
    network,
    registry,
    storage,
    keyPair = KeyPair(),
    membership = new Membership(registry),
    as = 'replica',
    replicaPeers,
    patience,
    limits = {}
  }: ReplicaOptions) {
    super()
    // Each service of this process listens.
    this.setMaxListeners(0)
    this.registry = registry
    this.key = toHex(keyPair.publicKey)
    this.#storage = storage
    this.membership = membership
    this.#sync = new Sync({ progress: () => this.logs(), patience })
    this.#sync.on('synced', () => this.emit('synced'))
    const options = { network, registry, keyPair, membership, as, replicaPeers, limits }
    this.peering = new Peering(options)
    this.peering.on('peer', (peer: Peer) => this.#onpeer(peer))
    this.peering.on('denied', (reason) => this.emit('denied', reason))
    this.peering.on('notice', (notice) => this.emit('notice', notice))
    this.#copies = new Copies({
      storage,
      registry,
      directory: this.directory,
      open: (logKey, options) =>
        this.#replication.open(logKey, () => this.#writerOf(logKey), options),
      ongrant: (statement) => this.membership.grants.add(statement)
    })
    this.#copies.on('notice', (notice) => this.emit('notice', notice))
    this.#copies.on('entries', (entries) => this.emit('entries', entries))
    this.#copies.on('held', (logKey) => this.announce(logKey))
    this.#copies.on('applied', () => this.#onapplied())
  }

  /** Registrars that are connected and heard of within the last beats. */
  get registrars(): Peer[] {
    return this.#live.peers
  }

  /** Whether the directory is as good as it gets: a live registrar's, or the best copy in reach. */
  get isSynced(): boolean {
    return this.#sync.isDone
  }

  /** Resolves when the directory is as good as it gets; never if nothing is found. */
  synced(): Promise<void> {
    return this.#sync.done
  }

  /** Each known log, and how fresh our copy is. */
  logs(): LogView[] {
    return [...this.#certificates.values()].map(({ logKey, registrarKey }) => {
      const { applied, offered } = this.#progressOf(logKey)
      return {
        logKey,
        registrarKey,
        applied,
        offered,
        behind: Math.max(this.#copies.written(logKey) - applied, 0),
        live: logKey === this.#own?.logKey || this.#live.get(registrarKey)?.logKey === logKey,
        heardAt: this.#live.heardAt(registrarKey)
      }
    })
  }

  /** What of a log whoever asks can have from us as a whole. */
  snapshotOf(logKey: string): Snapshot | null {
    return this.#copies.snapshots.held(logKey)
  }

  /** Blocks of the logs of live registrars that are not in the directory yet. */
  get behind(): number {
    return this.logs().reduce((sum, { live, behind }) => sum + (live ? behind : 0), 0)
  }

  override async _open() {
    await this.#copies.snapshots.sweep()
    for (const certificate of this.#storage.memory.certificates) {
      try {
        await this.addCertificate(checkCertificate(certificate, this.registry))
      } catch (notice) {
        this.emit('notice', notice)
      }
    }
    for (const statement of this.#storage.memory.grants) this.#remember(statement)
    this.#stopWatching = this.membership.grants.watch((subject) => this.#onrights(subject))
    this.#timers.push(
      setInterval(() => this.membership.grants.expire(), EXPIRY_CHECK_MS),
      setInterval(() => this.#cutTheUnwelcome(), SWEEP_MS)
    )
    await this.peering.ready()
    this.#sync.start()
  }

  override async _close() {
    this.#sync.stop()
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopWatching()
    await this.peering.close()
    await this.#copies.close()
    if (this.#saveTimer) clearTimeout(this.#saveTimer)
    if (this.opened) await this.#save()
  }

  /** Follows the log of a certificate from now on, and tells the others of it. */
  async addCertificate(certificate: Certificate, from?: Peer) {
    const { logKey, registrarKey } = certificate
    if (!this.#certificates.isNews(certificate) || this.#isOutdated(certificate)) return
    const isKnown = this.#certificates.has(logKey)
    this.#certificates.set(logKey, certificate)
    this.#setPrivate()
    this.peering.addRegistrar(registrarKey)
    this.#saveSoon()
    this.announce(logKey, from)
    if (!isKnown && logKey !== this.#own?.logKey) await this.#copies.follow(logKey)
  }

  /** Tells the others what we have of a log. */
  announce(logKey: string, except?: Peer) {
    const certificate = this.#certificates.get(logKey)
    if (!certificate) return
    for (const peer of this.peering.peers.values()) {
      if (peer !== except) peer.sendLogs([this.#noticeOf(certificate)])
    }
  }

  /** A log that need not be followed, and is live although nobody pings for it: our own. */
  setOwnLog(logKey: string, log: Log) {
    const before = this.#own
    if (before?.log === log) return
    this.#own = { logKey, log }
    const tell = (values: LogValue[]) => {
      const { entries, grants } = sortOut(values)
      this.directory.apply(logKey, entries, true)
      for (const statement of grants) this.membership.grants.add(statement)
    }
    tell(log.values())
    log.on('written', tell)
    this.directory.setLive(logKey, true)
    if (!before) return
    this.directory.setLive(before.logKey, false)
    this.#copies.follow(before.logKey).catch((notice) => this.emit('notice', notice))
  }

  #onapplied() {
    this.#saveSoon()
    this.#forgetOldLogs()
    this.#sync.check()
    this.emit('applied')
  }

  #setPrivate() {
    const { grants } = this.membership
    const wasUnknown = grants.isPrivate === null
    grants.isPrivate = this.#certificates.isPrivate
    if (wasUnknown) for (const peer of this.peering.peers.values()) this.#replicate(peer)
  }

  #remember(statement: unknown) {
    try {
      this.membership.grants.add(checkGrantStatement(statement, this.registry))
    } catch (notice) {
      this.emit('notice', notice)
    }
  }

  #onrights(subject: string | undefined) {
    this.#cutTheUnwelcome()
    if (subject && this.membership.identities.includes(subject)) this.peering.searchNow()
    this.#saveSoon()
  }

  /** Whoever may no longer read gets nothing more. */
  #cutTheUnwelcome() {
    for (const peer of this.peering.peers.values()) {
      if (!this.membership.mayRead(peer.identities)) peer.destroy()
    }
    this.emit('rights')
  }

  #onpeer(peer: Peer) {
    this.#replicate(peer)
    peer.on('logs', (logs) => this.#onlogs(peer, logs))
    peer.on('afterword', (answer) => this.#onafterword(peer, answer))
    peer.once('logs', (logs) => this.emit('introduced', this.#ownLengthIn(logs)))
    peer.on('ping', (ping) => this.#onping(peer, ping))
    peer.on('close', () => this.#onpeerclose(peer))
    peer.sendLogs(this.#notices())
    this.emit('peer', peer)
  }

  /** Not before it is known who may read: on the disk may be more than the certificates say that we have. */
  #replicate(peer: Peer) {
    if (peer.connection.destroying || this.membership.grants.isPrivate === null) return
    if (this.#replications >= this.peering.limits.replications) return this.#turnAway(peer)
    this.#replications++
    peer.on('close', () => this.#replications--)
    this.#replication.add(peer)
  }

  /** Who is one too many still gets leases and pings here, and the logs from other replicas. */
  #turnAway(peer: Peer) {
    const reason = SeaportError.LIMIT_REACHED(
      `the logs are served to ${this.#replications} others already, and to no more`
    )
    peer.tell(reason)
    this.emit('notice', reason)
  }

  /** What concerns no lease, but us. */
  #onafterword({ key }: Peer, { id, code, text }: Answer) {
    if (id === 0) this.emit('notice', SeaportError.remote(code, `${key.slice(0, 8)}…: ${text}`))
  }

  #onlogs(peer: Peer, logs: LogNotice[]) {
    for (const { certificate, length, snapshot } of logs) {
      try {
        const checked = checkCertificate(certificate, this.registry)
        const { logKey } = checked
        const start = snapshot === undefined ? null : this.#checkSnapshot(snapshot, logKey)
        this.addCertificate(checked, peer).catch((notice) => this.emit('notice', notice))
        this.#copies.offer(logKey, length, start)
        this.#replication.offer(logKey, peer, length)
        this.#checkRewind(logKey, length)
      } catch (error) {
        peer.emit(
          'malformed',
          SeaportError.BAD_MESSAGE(
            `a peer passed on a bad certificate or snapshot: ${(error as Error).message}`
          )
        )
        peer.destroy()
        return
      }
    }
    this.#sync.check()
  }

  #ownLengthIn(logs: readonly LogNotice[]): number {
    const isOwn = ({ certificate }: LogNotice) =>
      (certificate as Certificate | null)?.logKey === this.#own?.logKey
    return logs.find(isOwn)?.length ?? 0
  }

  #checkSnapshot(value: unknown, logKey: string): Snapshot {
    const snapshot = checkSnapshot(value, this.registry)
    if (snapshot.logKey === logKey) return snapshot
    throw SeaportError.BAD_MESSAGE('the snapshot is of another log')
  }

  /** Nobody can have more of a log than its writer, unless that one was put back to an older state. */
  #checkRewind(logKey: string, length: number) {
    if (logKey === this.#own?.logKey && length > this.#own.log.length) this.emit('rewound')
  }

  #onping(peer: Peer, { length }: Ping) {
    const certificate = this.#certificates.ofRegistrar(peer.key)
    if (!certificate) return
    const { logKey } = certificate
    this.#copies.offer(logKey, length)
    const known = this.#live.get(peer.key)
    this.#live.hear(peer, logKey)
    if (known?.peer === peer && known.logKey === logKey) return
    if (known) this.directory.setLive(known.logKey, false)
    this.directory.setLive(logKey, true)
    this.#sync.check()
    this.#forgetOldLogs()
    if (known?.peer !== peer) this.emit('registrar', peer)
  }

  #onpeerclose(peer: Peer) {
    const logKey = this.#live.lose(peer)
    if (logKey === null) return
    this.directory.setLive(logKey, false)
    this.emit('registrar-lost', peer)
  }

  get #replication(): Replication {
    this.#copying ??= new Replication(this.#storage.store)
    return this.#copying
  }

  /** The key of the registrar that writes a log, null if it has begun another. */
  #writerOf(logKey: string): string | null {
    const registrarKey = this.#certificates.get(logKey)?.registrarKey ?? ''
    return this.#certificates.ofRegistrar(registrarKey)?.logKey === logKey ? registrarKey : null
  }

  #notices(): LogNotice[] {
    return [...this.#certificates.values()].map((certificate) => this.#noticeOf(certificate))
  }

  #noticeOf(certificate: Certificate): LogNotice {
    const { logKey } = certificate
    const snapshot = this.snapshotOf(logKey)
    return { certificate, length: this.#lengthOf(logKey), ...(snapshot ? { snapshot } : {}) }
  }

  #lengthOf(logKey: string): number {
    if (logKey === this.#own?.logKey) return this.#own.log.length
    return this.#copies.applied(logKey)
  }

  #progressOf(logKey: string) {
    return { applied: this.#lengthOf(logKey), offered: this.#copies.offered(logKey) }
  }

  #forgetOldLogs() {
    for (const certificate of [...this.#certificates.values()]) {
      if (!this.#isOutdated(certificate)) continue
      const { logKey } = certificate
      this.#certificates.delete(logKey)
      this.#copies.drop(logKey).catch((notice) => this.emit('notice', notice))
      this.#saveSoon()
    }
  }

  /** Its registrar writes another one, or was away for long; and somebody live knows better. */
  #isOutdated({ logKey, registrarKey, startedAt, renewedAt }: Certificate): boolean {
    const live = this.#certificates.get(this.#live.get(registrarKey)?.logKey ?? '')
    if (live) return live.startedAt > startedAt && isRead(this.#progressOf(live.logKey))
    const isForgotten = renewedAt < Date.now() - FORGET_LOG_AFTER_MS
    return isForgotten && this.#live.size > 0 && logKey !== this.#own?.logKey
  }

  #saveSoon() {
    if (this.#saveTimer || this.closing) return
    this.#saveTimer = setTimeout(() => {
      this.#saveTimer = null
      this.#save().catch((notice) => this.emit('notice', notice))
    }, SAVE_DELAY_MS)
  }

  async #save() {
    const { memory } = this.#storage
    memory.certificates = [...this.#certificates.values()]
    memory.grants = this.membership.grants.statements()
    this.#copies.remember()
    await this.#storage.save()
  }
}
