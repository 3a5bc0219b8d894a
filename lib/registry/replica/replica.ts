import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { ReadyResource } from '../../core/holepunch.js'
import { KeyPair, toHex } from '../../core/keys.js'
import type { Network } from '../../core/network.js'
import type { Log } from '../log/log.js'
import { type LogValue, sortOut } from '../log/log-value.js'
import type { Storage } from '../log/storage.js'
import type { Limits } from '../swarm/limits.js'
import { Membership } from '../swarm/membership.js'
import type { Peer } from '../swarm/peer.js'
import { Peering, type PeeringOptions } from '../swarm/peering.js'
import type { Answer, LogNotice, Ping } from '../swarm/protocol.js'
import { type Certificate, checkCertificate } from '../trust/certificate.js'
import { checkGrantStatement } from '../trust/grant.js'
import type { Snapshot } from '../trust/snapshot.js'
import type { Statement } from '../trust/statement.js'
import type { Statements } from '../trust/statements.js'
import { Backup } from './backup.js'
import { Directory } from './directory.js'
import { Followers } from './followers.js'
import { KnownLogs, type LogView } from './known-logs.js'
import { LiveRegistrars } from './live-registrars.js'
import { type CheckedLogNotice, checkLogNotice } from './log-notice.js'
import { Sync, type SyncOptions } from './sync.js'

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
/** How often grants are checked for having expired. */
const EXPIRY_CHECK_MS = 1000
/** How often connections are searched for peers that may not read any more. */
const SWEEP_MS = 5000

/**
 * A participant's copies of the logs, on disk and merged in memory, kept up to date by whoever has
 * them and served to whoever asks. Emits `registrar` (a Peer, when one is live), `registrar-lost`
 * (a Peer), `synced` (once), `applied` (more of some log was read), `entries` (what another's log says, as a list of
 * keys and entries), `peer` (a Peer), `rights` (somebody may have lost some),
 * `introduced` (a peer said what it has; of our own log so many blocks), `rewound` (a peer has more of our own log than we have),
 * `denied` (a SeaportError: we may not read; and whether the registry's own key says so) and `notice` (a SeaportError).
 */
export class Replica extends ReadyResource {
  readonly directory = new Directory()
  readonly registry: Buffer
  /** Our swarm key, hex. */
  readonly key: string
  readonly membership: Membership
  readonly peering: Peering
  /** What the registry says, to be kept elsewhere and brought back. */
  readonly backup: Backup

  readonly #storage: Storage
  readonly #followers: Followers
  readonly #live = new LiveRegistrars()
  readonly #logs: KnownLogs
  readonly #sync: Sync
  #replications = 0
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
    this.backup = new Backup({
      registry,
      directory: this.directory,
      statements: membership.statements,
      put: (statement) => this.put(statement)
    })
    this.#sync = new Sync({ progress: () => this.logs(), patience })
    forward(this.#sync, this, ['synced'])
    const options = { network, registry, keyPair, membership, as, replicaPeers, limits }
    this.peering = new Peering(options)
    this.peering.on('peer', (peer: Peer) => this.#onpeer(peer))
    this.peering.on('denied', (...denial) => this.emit('denied', ...denial))
    forward(this.peering, this, ['notice'])
    this.#followers = new Followers({
      storage,
      registry,
      directory: this.directory,
      statements: this.statements,
      writerOf: (logKey) => this.#logs.writerOf(logKey)
    })
    this.#logs = new KnownLogs(this.#followers, this.#live)
    forward(this.#followers, this, ['notice', 'entries'])
    this.#followers.on('held', (logKey) => this.announce(logKey))
    this.#followers.on('applied', () => this.#onapplied())
  }

  /** What the logs say beside leases: grants, revocations, and the kinds that were passed in. */
  get statements(): Statements {
    return this.membership.statements
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

  /**
   * Has a statement written. One registrar is enough, the others copy it; but all that are there are told at once.
   *
   * @throws REGISTRAR_NOT_FOUND, or what all of them refuse it with: NOT_GRANTED, CONFLICT, UNKNOWN_KIND…
   */
  async put(statement: Statement) {
    const answers = await Promise.allSettled(this.registrars.map((peer) => peer.put(statement)))
    const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    const [refusal] = given.filter(({ code }) => code !== '')
    if (given.some(({ code }) => code === '')) this.statements.add(statement)
    else if (refusal) throw SeaportError.remote(refusal.code, refusal.text)
    else throw SeaportError.REGISTRAR_NOT_FOUND('no registrar answered, and only they write logs')
  }

  /** Each known log, and how fresh our copy is. */
  logs(): LogView[] {
    return this.#logs.views()
  }

  /** The snapshot of a log that we can give to others, null if there is none. */
  snapshotOf(logKey: string): Snapshot | null {
    return this.#followers.snapshots.held(logKey)
  }

  /** Blocks of the logs of live registrars that are not in the directory yet. */
  get behind(): number {
    return this.logs().reduce((sum, { live, behind }) => sum + (live ? behind : 0), 0)
  }

  override async _open() {
    await this.#followers.snapshots.sweep()
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
    await this.#followers.close()
    if (this.#saveTimer) clearTimeout(this.#saveTimer)
    if (this.opened) await this.#save()
  }

  /** Follows the log of a certificate from now on, and tells the others of it. */
  async addCertificate(certificate: Certificate, from?: Peer) {
    const { logKey, registrarKey } = certificate
    const { certificates } = this.#logs
    if (!certificates.isNews(certificate) || this.#logs.isOutdated(certificate)) return
    const isKnown = certificates.has(logKey)
    certificates.set(logKey, certificate)
    this.#setPrivate()
    this.peering.addRegistrar(registrarKey)
    this.#saveSoon()
    this.announce(logKey, from)
    if (!isKnown && !this.#logs.isOwn(logKey)) await this.#followers.follow(logKey)
  }

  /** Tells the others what we have of a log. */
  announce(logKey: string, except?: Peer) {
    const certificate = this.#logs.certificates.get(logKey)
    if (!certificate) return
    for (const peer of this.peering.peers.values()) {
      if (peer !== except) peer.sendLogs([this.#logs.noticeOf(certificate)])
    }
  }

  /** Takes the log that this process writes. It needs no follower, and counts as live without pings. */
  setOwnLog(log: Log) {
    const { key: logKey } = log
    const before = this.#logs.own
    if (before === log) return
    this.#logs.own = log
    const tell = (values: LogValue[]) => {
      const { entries, statements } = sortOut(values)
      this.directory.apply(logKey, entries, true)
      for (const statement of statements) this.statements.add(statement)
    }
    tell(log.values())
    log.on('written', tell)
    this.directory.setLive(logKey, true)
    if (!before || before.key === logKey) return
    this.directory.setLive(before.key, false)
    this.#followers.follow(before.key).catch((notice) => this.emit('notice', notice))
  }

  /**
   * Has the storage opened anew, or elsewhere, and copies there what is not there.
   *
   * @throws what `open` throws; it has to be called again then
   */
  async move(open: () => Promise<void>) {
    await this.#followers.move(open)
    this.#saveSoon()
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
    grants.isPrivate = this.#logs.certificates.isPrivate
    if (wasUnknown) for (const peer of this.peering.peers.values()) this.#replicate(peer)
  }

  #remember(statement: unknown) {
    try {
      this.statements.add(checkGrantStatement(statement, this.registry))
    } catch (notice) {
      this.emit('notice', notice)
    }
  }

  #onrights(subject: string | undefined) {
    this.#cutTheUnwelcome()
    if (subject && this.membership.identities.includes(subject)) this.peering.searchNow()
    this.#saveSoon()
  }

  /** Cuts the connections of peers that may not read any more. */
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
    peer.once('logs', (logs) => this.emit('introduced', this.#logs.ownLengthIn(logs)))
    peer.on('ping', (ping) => this.#onping(peer, ping))
    peer.on('close', () => this.#onpeerclose(peer))
    peer.sendLogs(this.#logs.notices())
    this.emit('peer', peer)
  }

  /**
   * Serves the logs to a peer. This waits until a certificate says who may read, because logs may be on disk
   * that no certificate of ours names yet.
   */
  #replicate(peer: Peer) {
    if (peer.connection.destroying || this.membership.grants.isPrivate === null) return
    if (this.#replications >= this.peering.limits.replications) return this.#turnAway(peer)
    this.#replications++
    peer.on('close', () => this.#replications--)
    this.#followers.serve(peer)
  }

  /**
   * Tells a peer that it gets no logs here. It still gets leases and pings, and can copy the logs from other
   * replicas.
   */
  #turnAway(peer: Peer) {
    const reason = SeaportError.LIMIT_REACHED(
      `the logs are served to ${this.#replications} others already, and to no more`
    )
    peer.tell(reason)
    this.emit('notice', reason)
  }

  /** Reports what a peer says unasked (id 0). Answers about a lease are the lease's to handle. */
  #onafterword(peer: Peer, { id, code, text }: Answer) {
    if (id === 0) this.peering.report(peer, SeaportError.remote(code, text))
  }

  #onlogs(peer: Peer, logs: LogNotice[]) {
    try {
      for (const notice of logs) this.#onlognotice(peer, checkLogNotice(notice, this.registry))
    } catch (error) {
      peer.emit('malformed', error as SeaportError)
      peer.destroy()
      return
    }
    this.#sync.check()
  }

  #onlognotice(peer: Peer, { certificate, length, snapshot }: CheckedLogNotice) {
    const { logKey } = certificate
    this.addCertificate(certificate, peer).catch((notice) => this.emit('notice', notice))
    this.#followers.offer(logKey, length, snapshot)
    this.#followers.setLength(logKey, peer, length)
    if (this.#logs.isRewound(logKey, length)) this.emit('rewound')
  }

  #onping(peer: Peer, { length }: Ping) {
    const certificate = this.#logs.certificates.ofRegistrar(peer.key)
    if (!certificate) return
    const { logKey } = certificate
    this.#followers.offer(logKey, length)
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

  #forgetOldLogs() {
    for (const { logKey } of this.#logs.outdated()) {
      this.#logs.certificates.delete(logKey)
      this.#followers.drop(logKey).catch((notice) => this.emit('notice', notice))
      this.#saveSoon()
    }
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
    memory.certificates = [...this.#logs.certificates.values()]
    memory.grants = this.membership.grants.statements()
    this.#followers.remember()
    await this.#storage.save()
  }
}
