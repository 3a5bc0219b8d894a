import { SeaportError } from '../errors.js'
import { ReadyResource } from '../holepunch.js'
import { KeyPair, toHex } from '../keys.js'
import type { Network } from '../network.js'
import { type Certificate, checkCertificate } from './certificate.js'
import { Directory } from './directory.js'
import { Follower } from './follower.js'
import { checkGrantStatement } from './grant.js'
import type { Limits } from './limits.js'
import { LiveRegistrars } from './live-registrars.js'
import { type Log, type LogValue, sortOut } from './log.js'
import { Membership } from './membership.js'
import type { Peer } from './peer.js'
import { Peering, type PeeringOptions } from './peering.js'
import type { Answer, LogNotice, Ping } from './protocol.js'
import type { Storage } from './storage.js'

/** One registrar's log, and how fresh our copy of it is. Keys are hex. */
export interface LogView {
  logKey: string
  registrarKey: string
  /** Blocks that are in the directory. */
  applied: number
  /** Blocks that somebody connected was seen to have. */
  offered: number
  /** Blocks that were written, as far as we know, and are not in the directory yet. */
  behind: number
  /** Whether its registrar is connected and answers, or is this one. */
  live: boolean
  /** When that was last so, in ms since 1970; null if not in this run. */
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
  /** How long to look for a live registrar before an older copy of the directory will do, in ms. */
  patience?: number
  /** What it takes of others. */
  limits?: Partial<Limits> | undefined
}

/** How long to look for a live registrar before an older copy of the directory will do. */
const PATIENCE_MS = 2000
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
 * (a Peer), `synced` (once), `applied` (more of some log was read), `peer` (a Peer), `rights` (somebody may have lost some),
 * `introduced` (a peer said what it has), `rewound` (a peer has more of our own log than we have),
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
  readonly #patience: number
  readonly #certificates = new Map<string, Certificate>()
  readonly #followers = new Map<string, Follower>()
  readonly #live = new LiveRegistrars()
  #own: { logKey: string; log: Log } | null = null
  #replications = 0
  #impatient = false
  #patienceTimer: NodeJS.Timeout | null = null
  readonly #timers: NodeJS.Timeout[] = []
  #stopWatching: () => void = () => {}
  #saveTimer: NodeJS.Timeout | null = null
  #synced: Promise<void>
  #resolveSynced!: () => void
  #isSynced = false

  constructor({
    network,
    registry,
    storage,
    keyPair = KeyPair(),
    membership = new Membership(registry),
    as = 'replica',
    replicaPeers,
    patience = PATIENCE_MS,
    limits = {}
  }: ReplicaOptions) {
    super()
    // Each service of this process listens.
    this.setMaxListeners(0)
    this.registry = registry
    this.key = toHex(keyPair.publicKey)
    this.#storage = storage
    this.#patience = patience
    this.#synced = new Promise((resolve) => {
      this.#resolveSynced = resolve
    })
    this.membership = membership
    const options = { network, registry, keyPair, membership, as, replicaPeers, limits }
    this.peering = new Peering(options)
    this.peering.on('peer', (peer: Peer) => this.#onpeer(peer))
    this.peering.on('denied', (reason) => this.emit('denied', reason))
    this.peering.on('notice', (notice) => this.emit('notice', notice))
  }

  /** Registrars that are connected and heard of within the last beats. */
  get registrars(): Peer[] {
    return this.#live.peers
  }

  /** Whether the directory is as good as it gets: a live registrar's, or the best copy in reach. */
  get isSynced(): boolean {
    return this.#isSynced
  }

  /** Resolves when the directory is as good as it gets; never if nothing is found. */
  synced(): Promise<void> {
    return this.#synced
  }

  /** Each known log, and how fresh our copy is. */
  logs(): LogView[] {
    return [...this.#certificates.values()].map(({ logKey, registrarKey }) => {
      const applied = this.#lengthOf(logKey)
      const offered = this.#offeredOf(logKey)
      const written = Math.max(offered, this.#followers.get(logKey)?.core.length ?? 0)
      return {
        logKey,
        registrarKey,
        applied,
        offered,
        behind: Math.max(written - applied, 0),
        live: logKey === this.#own?.logKey || this.#live.get(registrarKey)?.logKey === logKey,
        heardAt: this.#live.heardAt(registrarKey)
      }
    })
  }

  /** Blocks of the logs of live registrars that are not in the directory yet. */
  get behind(): number {
    return this.logs().reduce((sum, { live, behind }) => sum + (live ? behind : 0), 0)
  }

  override async _open() {
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
    this.#patienceTimer = setTimeout(() => {
      this.#impatient = true
      this.#checkSynced()
    }, this.#patience)
  }

  override async _close() {
    if (this.#patienceTimer) clearTimeout(this.#patienceTimer)
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopWatching()
    await this.peering.close()
    for (const follower of this.#followers.values()) await follower.close()
    if (this.#saveTimer) clearTimeout(this.#saveTimer)
    if (this.opened) await this.#save()
  }

  /** Follows the log of a certificate from now on, and tells the others of it. */
  async addCertificate(certificate: Certificate, from?: Peer) {
    const { logKey, registrarKey, renewedAt } = certificate
    const known = this.#certificates.get(logKey)
    if ((known && known.renewedAt >= renewedAt) || this.#isOutdated(certificate)) return
    this.#certificates.set(logKey, certificate)
    this.#setPrivate()
    this.peering.addRegistrar(registrarKey)
    this.#saveSoon()
    for (const peer of this.peering.peers.values()) {
      if (peer !== from) peer.sendLogs([{ certificate, length: this.#lengthOf(logKey) }])
    }
    if (!known && logKey !== this.#own?.logKey) await this.#follow(logKey)
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
    log.watch(tell)
    this.directory.setLive(logKey, true)
    if (!before) return
    this.directory.setLive(before.logKey, false)
    this.#follow(before.logKey).catch((notice) => this.emit('notice', notice))
  }

  async #follow(logKey: string) {
    const follower = new Follower({
      core: this.#storage.store.get({ key: Buffer.from(logKey, 'hex') }),
      registry: this.registry,
      applied: this.#storage.memory.applied[logKey] ?? 0,
      onchanges: (changes) => this.directory.apply(logKey, changes),
      onreplace: (entries) => this.directory.replace(logKey, entries),
      ongrant: (statement) => this.membership.grants.add(statement)
    })
    this.#followers.set(logKey, follower)
    follower.on('notice', (notice) => this.emit('notice', notice))
    follower.on('applied', () => {
      this.#saveSoon()
      this.#forgetOldLogs()
      this.#checkSynced()
      this.emit('applied')
    })
    follower.on('tidied', () => {
      this.#storage.store.storage.compact().catch((notice) => this.emit('notice', notice))
    })
    await follower.ready()
  }

  /** As long as one registrar says so: a mistake on one machine must not open the registry. */
  #setPrivate() {
    const { grants } = this.membership
    const wasUnknown = grants.isPrivate === null
    grants.isPrivate = [...this.#certificates.values()].some((certificate) => certificate.private)
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
    this.#storage.store.replicate(peer.mux)
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
    for (const { certificate, length } of logs) {
      try {
        const checked = checkCertificate(certificate, this.registry)
        this.addCertificate(checked, peer).catch((notice) => this.emit('notice', notice))
        this.#offer(checked.logKey, length)
        this.#checkRewind(checked.logKey, length)
      } catch (error) {
        peer.emit(
          'malformed',
          SeaportError.BAD_MESSAGE(
            `a peer passed on a bad certificate: ${(error as Error).message}`
          )
        )
        peer.destroy()
        return
      }
    }
    this.emit('introduced')
    this.#checkSynced()
  }

  /** Nobody can have more of a log than its writer, unless that one was put back to an older state. */
  #checkRewind(logKey: string, length: number) {
    if (logKey === this.#own?.logKey && length > this.#own.log.length) this.emit('rewound')
  }

  #onping(peer: Peer, { length }: Ping) {
    const certificate = this.#certificateOf(peer.key)
    if (!certificate) return
    this.#offer(certificate.logKey, length)
    const { logKey } = certificate
    const known = this.#live.get(peer.key)
    this.#live.hear(peer, logKey)
    if (known?.peer === peer && known.logKey === logKey) return
    if (known) this.directory.setLive(known.logKey, false)
    this.directory.setLive(logKey, true)
    this.#checkSynced()
    this.#forgetOldLogs()
    if (known?.peer !== peer) this.emit('registrar', peer)
  }

  #onpeerclose(peer: Peer) {
    const logKey = this.#live.lose(peer)
    if (logKey === null) return
    this.directory.setLive(logKey, false)
    this.emit('registrar-lost', peer)
  }

  /** The log that a registrar writes now; it may have begun a new one. */
  #certificateOf(registrarKey: string): Certificate | undefined {
    let newest: Certificate | undefined
    for (const certificate of this.#certificates.values()) {
      if (
        certificate.registrarKey === registrarKey &&
        (!newest || certificate.startedAt > newest.startedAt)
      ) {
        newest = certificate
      }
    }
    return newest
  }

  #notices(): LogNotice[] {
    return [...this.#certificates.values()].map((certificate) => ({
      certificate,
      length: this.#lengthOf(certificate.logKey)
    }))
  }

  #offer(logKey: string, length: number) {
    const follower = this.#followers.get(logKey)
    if (follower) follower.offered = Math.max(follower.offered, length)
  }

  #offeredOf(logKey: string): number {
    return this.#followers.get(logKey)?.offered ?? 0
  }

  #lengthOf(logKey: string): number {
    if (logKey === this.#own?.logKey) return this.#own.log.length
    return this.#followers.get(logKey)?.applied ?? 0
  }

  #checkSynced() {
    if (this.#isSynced || !this.#isAsGoodAsItGets()) return
    this.#isSynced = true
    this.#resolveSynced()
    this.emit('synced')
  }

  #isAsGoodAsItGets(): boolean {
    const live = this.logs().filter(({ live }) => live)
    if (live.length > 0) return live.every(({ logKey }) => this.#isRead(logKey))
    const known = [...this.#certificates.keys()]
    return this.#impatient && known.length > 0 && known.every((logKey) => this.#isRead(logKey))
  }

  /** Whether all that anybody offers of a log is in the directory. */
  #isRead(logKey: string): boolean {
    return this.#lengthOf(logKey) >= this.#offeredOf(logKey)
  }

  #forgetOldLogs() {
    for (const certificate of [...this.#certificates.values()]) {
      if (!this.#isOutdated(certificate)) continue
      const { logKey } = certificate
      const follower = this.#followers.get(logKey)
      this.#certificates.delete(logKey)
      this.#followers.delete(logKey)
      this.directory.drop(logKey)
      follower?.close().catch((notice) => this.emit('notice', notice))
      this.#saveSoon()
    }
  }

  /** Its registrar writes another one, or was away for long; and somebody live knows better. */
  #isOutdated({ logKey, registrarKey, startedAt, renewedAt }: Certificate): boolean {
    const live = this.#certificates.get(this.#live.get(registrarKey)?.logKey ?? '')
    if (live) return live.startedAt > startedAt && this.#isRead(live.logKey)
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
    memory.applied = Object.fromEntries(
      [...this.#followers].map(([logKey, { applied }]) => [logKey, applied])
    )
    await this.#storage.save()
  }
}
