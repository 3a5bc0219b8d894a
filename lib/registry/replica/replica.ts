import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { ReadyResource } from '../../core/holepunch.js'
import { KeyPair, toHex } from '../../core/keys.js'
import type { Network } from '../../core/network.js'
import type { Log } from '../log/log.js'
import { type LogValue, sortOut } from '../log/log-value.js'
import type { Memory } from '../log/memory.js'
import type { Storage } from '../log/storage.js'
import type { Limits } from '../swarm/limits.js'
import { Membership } from '../swarm/membership.js'
import type { Peer } from '../swarm/peer.js'
import { Peering, type PeeringOptions } from '../swarm/peering.js'
import type { LogNotice, Ping } from '../swarm/protocol.js'
import type { Certificate } from '../trust/certificate.js'
import { GrantExpiry } from '../trust/grant-expiry.js'
import { counts, type Mode } from '../trust/mode.js'
import type { Snapshot } from '../trust/snapshot.js'
import type { Statement } from '../trust/statement.js'
import type { Statements } from '../trust/statements.js'
import { Backup } from './backup.js'
import { Directory } from './directory.js'
import { Followers } from './followers.js'
import { KnownLogs, type LogView, type RegistrarView } from './known-logs.js'
import { LiveRegistrars } from './live-registrars.js'
import { type CheckedLogNotice, checkLogNotice } from './log-notice.js'
import { OldLogs, type OldLogsOptions } from './old-logs.js'
import { OwnLogCopies } from './own-log-copies.js'
import { Recollection } from './recollection.js'
import { StatementSources } from './statement-sources.js'
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
  stall?: SyncOptions['stall']
  spread?: OldLogsOptions['spread']
  /** What it takes of others. */
  limits?: Partial<Limits> | undefined
}

/** How often connections are searched for peers that may not read any more. */
const SWEEP_MS = 5000

/**
 * A participant's copies of the logs, on disk and merged in memory, kept up to date by whoever has them and served to whoever
 * asks. Emits `registrar` (a Peer, when one is live), `registrar-lost` (a Peer), `synced` (once), `applied` (more of some log
 * was read), `entries` (what another's log says, as a list of keys and entries), `peer` (a Peer), `rights` (somebody may have
 * lost some), `introduced` (a peer said all that it has: of our own log so many blocks, and whether it proved any), `rewound`
 * (a peer proved that our own log went on elsewhere), `former` (a Certificate: another log of this registrar), `mode` (a Mode),
 * `denied` (a SeaportError: we may not read; and whether the registry's own key says so) and `notice` (a SeaportError).
 */
export class Replica extends ReadyResource {
  readonly directory: Directory
  readonly registry: Buffer
  /** Our swarm key, hex. */
  readonly key: string
  readonly membership: Membership
  readonly peering: Peering
  /** What the registry says, to be kept elsewhere and brought back. */
  readonly backup: Backup

  readonly #followers: Followers
  readonly #memory: Recollection
  readonly #live = new LiveRegistrars()
  readonly #logs: KnownLogs
  readonly #oldLogs: OldLogs
  readonly #sync: Sync
  readonly #sources: StatementSources
  readonly #ownCopies = new OwnLogCopies({
    log: () => this.#logs.own,
    onrewound: () => this.emit('rewound')
  })
  /** The last ping of each peer, which may come before the certificate that says what the peer is. */
  readonly #pings = new WeakMap<Peer, Ping>()
  #mode: Mode | null = null
  readonly #grantExpiry: GrantExpiry
  #sweep: NodeJS.Timeout | null = null
  #stopWatching: () => void = () => {}

  constructor({
    network,
    registry,
    storage,
    keyPair = KeyPair(),
    membership = new Membership(registry),
    as = 'replica',
    replicaPeers,
    patience,
    stall,
    spread,
    limits = {}
  }: ReplicaOptions) {
    super()
    // Each service of this process listens.
    this.setMaxListeners(0)
    this.registry = registry
    this.key = toHex(keyPair.publicKey)
    this.membership = membership
    this.#grantExpiry = new GrantExpiry(membership.grants)
    this.directory = new Directory(membership.instances)
    this.#memory = new Recollection({ storage, registry, remember: (m) => this.#remember(m) })
    forward(this.#memory, this, ['notice'])
    this.backup = new Backup({
      registry,
      directory: this.directory,
      statements: membership.statements,
      put: (statement) => this.put(statement)
    })
    this.#sync = new Sync({ progress: () => this.logs(), patience, stall })
    forward(this.#sync, this, ['synced'])
    this.peering = new Peering({ network, registry, keyPair, membership, as, replicaPeers, limits })
    this.peering.on('peer', (peer: Peer) => this.#onpeer(peer))
    forward(this.peering, this, ['denied', 'notice'])
    this.#sources = new StatementSources(this.statements)
    this.#followers = new Followers({
      ...{ storage, registry, directory: this.directory, sources: this.#sources },
      statements: this.statements,
      maxPeers: () => this.peering.limits.replications,
      writerOf: (logKey) => this.#logs.writerOf(logKey)
    })
    this.#logs = new KnownLogs({
      ...{ followers: this.#followers, live: this.#live, sources: this.#sources },
      statements: this.statements,
      isConnected: (registrarKey) => this.peering.peers.has(registrarKey)
    })
    this.#oldLogs = new OldLogs({
      ...{ logs: this.#logs, sources: this.#sources, followers: this.#followers },
      ...{ peering: this.peering, memory: this.#memory, spread },
      put: (statement) => this.put(statement)
    })
    forward(this.#oldLogs, this, ['notice'])
    forward(this.#followers, this, ['notice', 'entries'])
    this.#followers.on('held', (logKey) => this.announce(logKey))
    this.#followers.on('entries', () => this.#sync.progressed())
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

  /** All registrars that are known, whether they can be reached or not. */
  get knownRegistrars(): RegistrarView[] {
    return this.#logs.registrars()
  }

  /** When a registrar last pinged, by `performance.now()`; -Infinity if not in this run. */
  heardSince(registrarKey: string): number {
    return this.#live.heardSince(registrarKey)
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
   * Has a statement written.
   *
   * @throws REGISTRAR_NOT_FOUND, or what all registrars refuse it with: NOT_GRANTED, CONFLICT, UNKNOWN_KIND…
   */
  async put(statement: Statement) {
    await this.#live.put(statement)
    this.statements.add(statement)
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
    this.statements.dates.hear(this.#memory.signedAt)
    this.takeMode(this.#memory.mode())
    for (const one of this.#memory.certificates()) await this.addCertificate(one, 'memory')
    this.#oldLogs.review()
    for (const statement of this.#memory.grants()) this.statements.add(statement)
    this.#stopWatching = this.membership.grants.watch((subject) => this.#onrights(subject))
    this.#grantExpiry.start()
    this.#sweep = setInterval(() => this.#cutTheUnwelcome(), SWEEP_MS)
    await this.peering.ready()
    this.#sync.start()
  }

  override async _close() {
    this.directory.close()
    this.#sync.stop()
    this.#oldLogs.close()
    this.#grantExpiry.stop()
    if (this.#sweep) clearInterval(this.#sweep)
    this.#stopWatching()
    await this.peering.close()
    await this.#followers.close()
    await this.#memory.close(this.opened)
  }

  /** Follows a log if it is of use, and tells others of it. What a remembered one is worth shows when it is read. */
  async addCertificate(certificate: Certificate, from?: Peer | 'memory') {
    const { logKey, registrarKey, renewedAt, mode } = certificate
    const { certificates } = this.#logs
    this.statements.dates.hear(renewedAt)
    this.takeMode(mode)
    if (!certificates.isNews(certificate)) return
    if (registrarKey === this.key && !this.#logs.isOwn(logKey)) this.emit('former', certificate)
    const isNew = from !== 'memory'
    if (isNew && !this.#logs.isWanted(certificate, from?.key === registrarKey)) return
    const isKnown = certificates.has(logKey)
    certificates.set(logKey, certificate)
    this.peering.addRegistrar(registrarKey)
    this.#memory.saveSoon()
    this.announce(logKey, from)
    if (isNew) this.#oldLogs.review()
    const isFollowed = isKnown || !certificates.has(logKey) || this.#logs.isOwn(logKey)
    if (!isFollowed) await this.#followers.follow(logKey)
  }

  /** Takes the registry's word on whether it is private. An older word counts for nothing. */
  takeMode(mode: Mode | null) {
    if (!mode || !counts(mode, this.#mode)) return
    const { grants } = this.membership
    const wasUnknown = grants.isPrivate === null
    this.#mode = mode
    grants.isPrivate = mode.private
    this.#memory.saveSoon()
    if (wasUnknown) for (const peer of this.peering.peers.values()) this.#replicate(peer)
    this.emit('mode', mode)
  }

  /** Tells the others what we have of a log. */
  announce(logKey: string, except?: Peer | 'memory') {
    const certificate = this.#logs.certificates.get(logKey)
    if (!certificate) return
    for (const peer of this.peering.peers.values()) {
      if (peer !== except) peer.sendLogs([this.#logs.noticeOf(certificate)])
    }
  }

  /** Takes the log that this process writes. It needs no follower, and counts as live without pings. */
  setOwnLog(log: Log) {
    const [logKey, before] = [log.key, this.#logs.own]
    if (before === log) return
    this.#logs.own = log
    const tell = (values: LogValue[]) => {
      const { entries, statements } = sortOut(values)
      this.directory.apply(logKey, entries, true)
      for (const statement of statements) {
        this.#sources.add(logKey, statement)
        this.statements.add(statement)
      }
      this.#oldLogs.review()
    }
    tell(log.values())
    log.on('written', tell)
    this.directory.setLive(logKey, true)
    if (!before || before.key === logKey) return
    this.directory.setLive(before.key, false)
    this.#followers.follow(before.key).catch((notice) => this.emit('notice', notice))
    this.#followers.offer(before.key, this.#ownCopies.longest)
  }

  /**
   * Has the storage opened anew, or elsewhere, and copies there what is not there.
   *
   * @throws what `open` throws; it has to be called again then
   */
  async move(open: () => Promise<void>) {
    await this.#followers.move(open)
    this.#memory.saveSoon()
  }

  #onapplied() {
    this.#memory.saveSoon()
    this.#oldLogs.review()
    this.#sync.check()
    this.emit('applied')
  }

  #onrights(subject: string | undefined) {
    this.#cutTheUnwelcome()
    if (subject && this.membership.identities.includes(subject)) this.peering.searchNow()
    this.#memory.saveSoon()
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
    peer.on('afterword', ({ id, code, text }) => {
      // What it says unasked. Answers about a lease are the lease's to handle.
      if (id === 0) this.peering.report(peer, SeaportError.remote(code, text))
    })
    peer.on('introduced', async () => this.emit('introduced', ...(await this.#ownCopies.of(peer))))
    peer.on('ping', (ping) => this.#onping(peer, ping))
    peer.on('close', () => this.#onpeerclose(peer))
    peer.introduce(this.#logs.notices())
    this.emit('peer', peer)
  }

  /**
   * Serves the logs to a peer. This waits until it is known who may read, because logs may be on disk that no
   * certificate of ours names yet.
   */
  #replicate(peer: Peer) {
    if (peer.connection.destroying || this.membership.grants.isPrivate === null) return
    const refusal = this.#followers.serve(peer)
    if (refusal) this.emit('notice', refusal)
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

  #onlognotice(peer: Peer, { certificate, length, head, snapshot }: CheckedLogNotice) {
    const { logKey, registrarKey } = certificate
    this.addCertificate(certificate, peer).catch((notice) => this.emit('notice', notice))
    if (!this.#logs.certificates.has(logKey)) return
    if (this.#logs.isOwn(logKey)) return this.#ownCopies.take(peer, { length, head, snapshot })
    this.#followers.offer(logKey, length, snapshot)
    this.#followers.setLength(logKey, peer, length)
    const ping = this.#pings.get(peer)
    if (peer.key === registrarKey && ping) this.#onping(peer, ping)
  }

  #onping(peer: Peer, ping: Ping) {
    this.#pings.set(peer, ping)
    const { length } = ping
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
    this.#oldLogs.review(known?.peer !== peer)
    if (known?.peer !== peer) this.emit('registrar', peer)
  }

  #onpeerclose(peer: Peer) {
    const logKey = this.#live.lose(peer)
    if (logKey === null) return
    this.directory.setLive(logKey, false)
    this.emit('registrar-lost', peer)
  }

  #remember(memory: Memory) {
    memory.certificates = [...this.#logs.certificates.values()]
    memory.mode = this.#mode
    memory.signedAt = this.statements.dates.newest
    memory.grants = this.membership.grants.statements()
    this.#followers.remember()
  }
}
