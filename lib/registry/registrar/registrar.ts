import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { ReadyResource } from '../../core/holepunch.js'
import { KeyedQueue } from '../../core/keyed-queue.js'
import type { KeyPair } from '../../core/keys.js'
import type { Network } from '../../core/network.js'
import type { RelayOffer } from '../../core/relay-offer.js'
import type { Log } from '../log/log.js'
import type { Storage } from '../log/storage.js'
import { Replica } from '../replica/replica.js'
import type { Limits } from '../swarm/limits.js'
import { Membership } from '../swarm/membership.js'
import type { Peer } from '../swarm/peer.js'
import type { LeaseRequest, PutRequest } from '../swarm/protocol.js'
import {
  isGone,
  isPresent,
  type LogEntry,
  parseRecord,
  RECORD,
  recordOf,
  type ServiceRecord
} from '../trust/record.js'
import type { Statement } from '../trust/statement.js'
import { StatementKinds } from '../trust/statement-kinds.js'
import { LeaseExpiry } from './lease-expiry.js'
import { type HeldLease, Leases } from './leases.js'
import { LogWriter } from './log-writer.js'
import { watchOverruled } from './overruled-watch.js'
import { cannotBeWritten, PublishedLog } from './published-log.js'
import { recordVerifier } from './record-verifier.js'
import type { RegistrarOptions } from './registrar-options.js'
import { RegistryMode } from './registry-mode.js'

export type { RegistrarOptions } from './registrar-options.js'

const HEARTBEAT_MS = 1000
/** A crash is noticed after at most 30 s, whatever the number of leases. */
const MAX_HEARTBEAT_MS = 7500
const LEASES_PER_HEARTBEAT = 1000
const RETURN_GRACE_MS = 1500
const RESTART_GRACE_MS = 10_000
const STALE_GRACE_MS = 60_000
const MODE_WAIT_MS = 5000
/** How long the holder of a key has to show that it lives when another asks for its lease. */
const HOLDER_ANSWER_MS = 1000
/** The queue of the statements that are kept in logs; an instance has its own. */
const STATEMENTS = 'statements'

/**
 * A process that holds the registry's seed and writes a log of its own: it takes leases, records what
 * their owners signed, and writes *gone* when a lease is lost. Emits `registered`, `withdrawn`, `gone`
 * and `stale` (a ServiceRecord each) and `notice` (a SeaportError).
 */
export class Registrar extends ReadyResource {
  readonly #stats = { granted: 0, denied: 0 }
  readonly #options: Required<
    Pick<RegistrarOptions, 'heartbeat' | 'returnGrace' | 'restartGrace' | 'staleGrace' | 'modeWait'>
  >
  readonly #network: Network
  readonly #keyPair: KeyPair
  readonly #storage: Storage
  readonly #membership: Membership
  readonly #mode: RegistryMode
  readonly #writer: LogWriter
  readonly #limits: Partial<Limits> | undefined
  readonly #leases = new Leases()
  readonly #queue = new KeyedQueue()
  readonly #verifier = recordVerifier()
  #replica: Replica | null = null
  #relay: RelayOffer | null = null
  #leaseExpiry: LeaseExpiry | null = null
  #own: PublishedLog | null = null
  readonly #watches: (() => void)[] = []

  constructor({ network, keyPair, storage, ...options }: RegistrarOptions) {
    super()
    this.#network = network
    this.#keyPair = keyPair
    this.#storage = storage
    const kinds = new StatementKinds(options.kinds)
    this.#membership = new Membership(keyPair.publicKey, kinds, { isStrict: true })
    this.#membership.addIdentity(keyPair)
    this.#mode = new RegistryMode({ keyPair, told: options.private })
    this.#writer = new LogWriter({ storage, keyPair, kinds })
    this.#limits = options.limits
    this.#options = {
      heartbeat: options.heartbeat ?? HEARTBEAT_MS,
      returnGrace: options.returnGrace ?? RETURN_GRACE_MS,
      restartGrace: options.restartGrace ?? RESTART_GRACE_MS,
      staleGrace: options.staleGrace ?? STALE_GRACE_MS,
      modeWait: options.modeWait ?? MODE_WAIT_MS
    }
  }

  get stats() {
    const { lost = 0 } = this.#leaseExpiry?.stats ?? {}
    return { leases: this.#leases.size, ...this.#stats, lost, stale: this.#leaseExpiry?.stale ?? 0 }
  }

  get replica(): Replica {
    if (!this.#replica) throw SeaportError.CLOSED('the registrar is not open')
    return this.#replica
  }

  /**
   * Reads from the folder, which has to be open, whether the registry is private, and writes what its user said.
   *
   * @throws PRIVATE_REGISTRY
   */
  async recallMode() {
    const { memory } = this.#storage
    if (!this.#mode.recall(memory.mode)) return
    memory.mode = this.#mode.current
    await this.#storage.save().catch((notice) => this.emit('notice', notice))
  }

  override async _open() {
    await this.recallMode()
    // Before anything is dated.
    this.#membership.statements.dates.hear(this.#storage.memory.signedAt)
    this.#watches.push(watchOverruled(this.#membership.statements, this.#keyPair))
    await this.#writer.ready()
    const replica = new Replica({
      network: this.#network,
      registry: this.#keyPair.publicKey,
      storage: this.#storage,
      keyPair: this.#writer.registrar,
      membership: this.#membership,
      limits: this.#limits,
      as: 'registrar'
    })
    this.#replica = replica
    const leaseExpiry = this.#makeLeaseExpiry(replica)
    this.#leaseExpiry = leaseExpiry
    replica.on('peer', (peer: Peer) => this.#onpeer(peer))
    forward(replica, this, ['notice'])
    replica.on('entries', (entries: [string, LogEntry][]) => {
      for (const [key, entry] of entries) if (isGone(entry)) leaseExpiry.copyGone(key)
    })
    replica.on('registrar', () => leaseExpiry.review())
    this.#own = new PublishedLog({
      writer: this.#writer,
      replica,
      storage: this.#storage,
      mode: this.#mode,
      modeWait: this.#options.modeWait,
      reached: () => this.#network.reached().catch(() => {})
    })
    forward(this.#own, this, ['notice'])
    this.#own.on('reopened', () => this.#onreopened(leaseExpiry))
    await this.#own.open()
    leaseExpiry.resume(this.#options.restartGrace)
    await replica.ready()
    const { grants, statements } = this.#membership
    for (const statement of statements.all()) this.#copy(statement)
    this.#watches.push(
      statements.watchAll((statement) => this.#copy(statement)),
      grants.watch((subject) => this.#onrights(subject))
    )
    await replica.peering.announced()
  }

  /** Offers a relay to all members, from now on. */
  offerRelay(offer: RelayOffer) {
    this.#relay = offer
    for (const peer of this.replica.peering.peers.values()) peer.sendRelay(offer)
  }

  /** What could not be written while the storage had failed is written now. */
  #onreopened(leaseExpiry: LeaseExpiry) {
    leaseExpiry.catchUp()
    for (const statement of this.#membership.statements.all()) this.#copy(statement)
  }

  #makeLeaseExpiry({ directory }: Replica): LeaseExpiry {
    const { returnGrace, staleGrace } = this.#options
    const leaseExpiry = new LeaseExpiry({
      log: () => this.#publishedLog,
      logKey: () => this.#writer.logKey,
      directory,
      inTurn: (key, act) => this.#inTurn(key, async () => (this.closing ? undefined : act())),
      isHeld: (key) => this.#leases.has(key),
      census: () => this.#census(),
      returnGrace,
      staleGrace
    })
    forward(leaseExpiry, this, ['gone', 'stale'])
    return leaseExpiry
  }

  #census() {
    const leases = [...this.#leases.values()]
    const doubtful = leases.filter(({ peer }) => peer.isDoubtful).length
    return { held: leases.length, doubtful }
  }

  override async _close() {
    for (const stop of this.#watches) stop()
    this.#leaseExpiry?.close()
    await this.#replica?.close()
    await this.#verifier.close()
    await this.#queue.idle()
    await this.#own?.close()
    await this.#writer.close()
  }

  get #publishedLog(): Log {
    return this.#writer.log
  }

  #onpeer(peer: Peer) {
    if (this.#relay) peer.sendRelay(this.#relay)
    peer.startPinging(() => ({ interval: this.#heartbeat, length: this.#publishedLog.length }))
    peer.on('lease', (request) => this.#onlease(peer, request))
    peer.on('put', (request) => this.#onput(peer, request))
    peer.on('close', () => this.#onpeerclose(peer))
  }

  /** Up to a thousand leases a crash is noticed within 5 s; beyond, pings are spread over more time. */
  get #heartbeat(): number {
    const { heartbeat } = this.#options
    const crowd = Math.ceil(this.#leases.size / LEASES_PER_HEARTBEAT)
    return Math.min(heartbeat * Math.max(crowd, 1), MAX_HEARTBEAT_MS)
  }

  #onlease(peer: Peer, request: LeaseRequest) {
    const answer = (key: string, act: () => Promise<void>) =>
      this.#inTurn(key, () => this.#reply(peer, request.id, key, act))
    try {
      const record = parseRecord(request.record, this.#keyPair.publicKey)
      const signed = this.#checkSigned(peer, record, request.record)
      // The rejection is handled later, in this key's queue. Until then it must not count as unhandled.
      signed.catch(() => {})
      answer(record.key, () => this.#take({ peer, record, id: request.id }, signed))
    } catch (error) {
      answer('', () => Promise.reject(error))
    }
  }

  #onput(peer: Peer, { id, statement }: PutRequest) {
    this.#inTurn(STATEMENTS, () => this.#reply(peer, id, '', () => this.#takeStatement(statement)))
  }

  /** Acts on a request, and answers it in every case: with a code if it failed. */
  async #reply(peer: Peer, id: number, key: string, act: () => Promise<void>) {
    const answer = (code: string, text: string) => {
      const seq = key === '' ? 0 : this.#highestSeq(key)
      if (!peer.closed) peer.answer({ id, code, text, seq })
    }
    try {
      await act()
      this.#stats.granted++
      answer('', '')
    } catch (error) {
      this.#stats.denied++
      if (error instanceof SeaportError) return answer(error.code, error.text)
      answer('STORAGE_FAILED', 'the registrar cannot write its log')
      throw error
    }
  }

  /** Runs tasks of one key in the order in which they came, once the log may be written to. */
  #inTurn(key: string, act: () => Promise<void>) {
    const task = async () => {
      await this.#own?.writable
      await act()
    }
    this.#queue.run(key, task).catch((cause) => this.emit('notice', cannotBeWritten(cause)))
  }

  async #take({ peer, record, id }: HeldLease, signed: Promise<void>) {
    const { key } = record
    await signed
    if (isPresent(record) && !this.#mayServe(record)) throw mayNotServe(record)
    if (isPresent(record)) this.#checkRoom(peer, key)
    await this.#displace(peer, key)
    if (peer.closed) throw SeaportError.CLOSED('the connection closed')
    // It has left even if that cannot be written now.
    if (!isPresent(record)) this.#leases.delete(key)
    await this.#writeRecord(record)
    const isHeld = isPresent(record) && !peer.closed
    if (isHeld) this.#leases.set(key, { peer, record, id })
    this.#leaseExpiry?.end(key, true)
    // Its holder left while that was written, and nobody would notice any more.
    if (isPresent(record) && !isHeld) this.#leaseExpiry?.begin(key, peer.silent)
    this.emit(isPresent(record) ? 'registered' : 'withdrawn', record)
  }

  /**
   * Checks that the record names this peer as the holder of its lease, and that the owner signed it. Everybody can
   * read the record and show it to us, but only the named holder gets the lease.
   */
  async #checkSigned(peer: Peer, record: ServiceRecord, json: string) {
    if (record.holder !== peer.key) {
      throw SeaportError.BAD_SIGNATURE('the record was signed for another holder of the lease')
    }
    // All records of one holder share one string, which saves memory.
    record.holder = peer.key
    if (!(await this.#verifier.verify({ record, json }))) {
      throw SeaportError.BAD_SIGNATURE('the record was not signed by the key it is for')
    }
  }

  /** @throws LIMIT_REACHED */
  #checkRoom(peer: Peer, key: string) {
    if (this.#leases.get(key)?.peer.key === peer.key) return
    const { leasesPerKey } = this.replica.peering.limits
    if (this.#leases.heldBy(peer.key) < leasesPerKey) return
    throw SeaportError.LIMIT_REACHED(`one participant may register ${leasesPerKey} services here`)
  }

  #mayServe(record: ServiceRecord): boolean {
    return RECORD.mayIssue(record, this.#membership.grants)
  }

  /** @throws UNKNOWN_KIND, BAD_MESSAGE, BAD_SIGNATURE, NOT_GRANTED, and what its kind refuses it with */
  async #takeStatement(json: string) {
    const { statements } = this.#membership
    const statement = statements.kinds.parse(json, this.#keyPair.publicKey)
    statements.admit(statement, this.replica.peering.limits.apps)
    await this.#write(statement)
  }

  /** Copies a statement from another log into ours, so that either registrar is enough to remember it. */
  #copy(statement: Statement) {
    this.#inTurn(STATEMENTS, async () => {
      if (!this.closing) await this.#write(statement)
    })
  }

  /** Writes what counts for the subject of a statement: that one, or a later one. */
  async #write(statement: Statement) {
    const current = this.#membership.statements.currentFor(statement)
    if (current && !this.#publishedLog.has(current)) await this.#publishedLog.put(current)
  }

  #onrights(subject: string | undefined) {
    for (const { key, app } of this.#publishedLog.entries().map(recordOf)) {
      if (subject === undefined || subject === key || subject === app?.host) this.#recheck(key)
    }
  }

  /** Removes an instance if it may not be served any more, and tells its owner. */
  #recheck(key: string) {
    this.#inTurn(key, async () => {
      const entry = this.#publishedLog.get(key)
      if (!entry || isGone(entry) || this.#mayServe(recordOf(entry))) return
      const lease = this.#leases.get(key)
      lease?.peer.tell(mayNotServe(lease.record), lease.id)
      this.#leases.delete(key)
      this.#leaseExpiry?.cut(key)
    })
  }

  /** Refuses the lease if another process holds it and still answers: one process at a time may hold it. */
  async #displace(peer: Peer, key: string) {
    const holder = this.#leases.get(key)?.peer
    if (!holder || holder === peer || holder.key === peer.key || holder.closed) return
    if (await holder.isAlive(HOLDER_ANSWER_MS)) {
      throw SeaportError.KEY_IN_USE(
        'another running process serves under this key; stop it, or give this one another seed'
      )
    }
  }

  async #writeRecord(record: ServiceRecord) {
    const known = this.replica.directory.entry(record.key)
    const own = this.#publishedLog.get(record.key)
    const highest = this.#highestSeq(record.key)
    const isCurrent = [known, own].some(
      (entry) => entry && recordOf(entry).signature === record.signature
    )
    if (record.seq < highest || (record.seq === highest && !isCurrent)) {
      throw SeaportError.STALE_RECORD(`a record with sequence number ${highest} is known already`)
    }
    if (own && isPresent(own) && own.signature === record.signature) return
    await this.#publishedLog.put(record)
  }

  #highestSeq(key: string): number {
    const own = this.#publishedLog.get(key)
    return Math.max(this.replica.directory.highestSeq(key), own ? recordOf(own).seq : 0)
  }

  #onpeerclose(peer: Peer) {
    for (const [key, lease] of this.#leases) {
      if (lease.peer !== peer) continue
      this.#leases.delete(key)
      this.#leaseExpiry?.begin(key, peer.silent)
    }
  }
}

function mayNotServe({ role, version, key }: ServiceRecord): SeaportError {
  return SeaportError.NOT_GRANTED(
    `this registry is private, and ${key} may not serve ${role}@${version}`
  )
}
