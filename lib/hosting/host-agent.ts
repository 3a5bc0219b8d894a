import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { KeyedQueue } from '../core/keyed-queue.js'
import { type KeyPair, toHex } from '../core/keys.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import type { Replica } from '../registry/replica/replica.js'
import { APP } from '../registry/trust/signed.js'
import type { ChunkExchange } from './chunks/chunk-exchange.js'
import type { AppUsers } from './driver/app-users.js'
import type { Driver } from './driver/driver.js'
import { fleetOf, hostsOf, type KnownInstance } from './fleet.js'
import type { HostFolder } from './host-folder.js'
import { HostJudge } from './host-judge.js'
import { HostedInstance, type InstanceStatus, type Occupancy } from './hosted-instance.js'
import type { Change } from './placement.js'
import type { InstanceView, PlacementView } from './placement-view.js'
import { Placer, type PlacerTimings } from './placer.js'
import { Preparer } from './preparer.js'
import { decodeRelease, type Release } from './release.js'

export interface HostAgentOptions {
  keyPair: KeyPair
  name: string
  replica: Replica
  folder: HostFolder
  exchange: ChunkExchange
  driver: Driver
  /** Null if all apps run as the host's own user. */
  users: AppUsers | null
  member: MemberOptions & { registryPublicKey: Buffer; dir: string }
  timings?: Partial<PlacerTimings> | undefined
  drainTimeout?: number | undefined
  checkInterval?: number | undefined
}

interface HostAgentEvents {
  /** An instance was started or stopped, or is in another state. */
  instance: [status: InstanceStatus]
  /** Something that may need a person's attention; the host goes on. */
  notice: [notice: SeaportError]
}

/** The least time between two looks, in ms, so that changes at the same time are handled together. */
const PAUSE_MS = 50
/** After what time something that could not be fetched or started is tried again, in ms. */
const RETRY_MS = 2000
/** How often logs are looked for that are kept no longer, in ms. */
const EXPIRY_MS = 3_600_000
/** How long what was pushed is kept for an app statement that names it, in ms. */
const PUSHED_MS = 600_000
/** Stands for the slot of an instance where a release is not prepared yet, and has none. */
const UNPREPARED = -1

/**
 * Does this host's part of what placement decides. It starts instances that are missing here, and stops those that are
 * too many.
 */
export class HostAgent extends EventEmitter<HostAgentEvents> {
  readonly #options: HostAgentOptions
  readonly #key: string
  readonly #placer: Placer
  readonly #judge: HostJudge
  readonly #preparer: Preparer
  readonly #instances = new Map<string, HostedInstance>()
  readonly #releases = new Map<string, Release>()
  /** When each release was fetched last, by a monotonic clock: what was pushed may be asked for a moment later only. */
  readonly #fetchedAt = new Map<string, number>()
  /** Passing instances of other hosts, with the time at which we first saw that. */
  readonly #passing = new Map<string, number>()
  /** Runs the changes of each app one after the other. */
  readonly #queue = new KeyedQueue()
  /** The changes that are under way, by their targets. */
  readonly #underWay = new Set<string>()
  readonly #stops: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null
  #dueAt = Infinity
  #isClosed = false
  #waitsFor: string | null = null

  constructor(options: HostAgentOptions) {
    super()
    this.#options = options
    this.#key = toHex(options.keyPair.publicKey)
    this.#placer = new Placer({ host: this.#key, timings: options.timings ?? {} })
    const { keyPair, replica, member, name, folder, driver, users } = options
    this.#judge = new HostJudge({ keyPair, replica, registry: member.registryPublicKey })
    this.#judge.on('done', () => this.look())
    this.#judge.on('notice', (notice) => this.emit('notice', notice))
    this.#preparer = new Preparer({
      ...{ host: this.#key, hostName: name, folder, driver, users },
      limitsOf: (app) => this.#limitsOf(app),
      fetch: (hash) => this.fetch(hash),
      bundleOf: (hash, release) => this.#bundleOf(hash, release),
      prepared: (app, hash, why) => {
        this.#judge.started({ app, slot: UNPREPARED })
        return this.#judge.prepared(app, hash, why)
      },
      troubled: (app, release, error) => {
        this.#judge.troubled({ app, slot: UNPREPARED, release }, error)
        this.emit('notice', error as SeaportError)
        this.look()
      }
    })
  }

  /** Why nothing is decided here yet; null if it is. */
  get waitsFor(): string | null {
    return this.#waitsFor
  }

  /** The apps whose command `before` runs here. */
  get preparing(): string[] {
    return this.#preparer.preparing
  }

  get instances(): InstanceStatus[] {
    return [...this.#instances.values()].map(({ status }) => status)
  }

  /** The instances of an app on this host. */
  instancesOf(app: string): HostedInstance[] {
    return [...this.#instances.values()].filter(({ occupancy }) => occupancy.app === app)
  }

  /** Finds the instances again that ran when the host ended, and follows the registry from then on. */
  async start() {
    const { folder, replica } = this.#options
    for (const occupancy of await folder.kept()) {
      await this.#begin(occupancy).catch((error) => this.emit('notice', error as SeaportError))
    }
    const expire = () => void folder.expireLogs().catch((error) => this.emit('notice', error))
    const expiry = setInterval(expire, EXPIRY_MS).unref()
    this.#stops.push(() => clearInterval(expiry))
    expire()
    const look = () => this.look()
    const { directory, statements, membership } = replica
    this.#stops.push(
      directory.watch(look),
      statements.watchAll(look),
      membership.grants.watch(look)
    )
    for (const event of ['registrar', 'registrar-lost', 'synced']) {
      replica.on(event, look)
      this.#stops.push(() => replica.off(event, look))
    }
    this.look()
  }

  /** @param stopApps whether the apps end with the host; otherwise they go on, and the next process finds them */
  async close(stopApps = false) {
    this.#isClosed = true
    this.#judge.close()
    this.#preparer.close(stopApps)
    for (const stop of this.#stops) stop()
    if (this.#timer) clearTimeout(this.#timer)
    await this.#queue.idle()
    const instances = [...this.#instances.values()]
    await Promise.all(instances.map((one) => (stopApps ? one.stop() : one.leave())))
  }

  /** Makes sure that there is a look within this time, in ms. */
  look(within = PAUSE_MS) {
    const dueAt = performance.now() + within
    if (this.#isClosed || dueAt >= this.#dueAt) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => {
      this.#dueAt = Infinity
      this.#timer = null
      this.#act()
    }, within)
  }

  /** Fetches a release: its document, and its bundle. */
  async fetch(hash: string, pusher?: string): Promise<Release> {
    this.#fetchedAt.set(hash, performance.now())
    const { replica, exchange, folder } = this.#options
    const hosts = hostsOf(replica).map(({ host }) => host)
    const sources = { pusher, peers: hosts }
    const release = decodeRelease(await exchange.fetchDocument(hash, { sources }))
    await exchange.fetch(release.bundle, { sources })
    // It is unpacked at once, so that whoever pushes it hears of what is wrong with it.
    await folder.bundle(release, (await folder.store.list(release.bundle)) ?? [])
    this.#releases.set(hash, release)
    return release
  }

  #act() {
    const { replica } = this.#options
    const instances = [...this.#instances.values()].map((one) => this.#viewOf(one))
    const own = { host: this.#key, instances, releases: this.#releases }
    const view = fleetOf(replica, own, (one, steady) => this.#isSteady(one, steady))
    if (this.#isPutOut()) return this.#endAll()
    const decision = this.#placer.look(view, performance.now())
    this.#waitsFor = decision.waitsFor
    for (const change of decision.changes) this.#do(change)
    if (decision.waitsFor === null) {
      if (view.apps.some(({ unprepared }) => unprepared)) this.#prepare(view)
      this.#judge.look(view, [...this.#instances.values()], this.#releases)
    }
    if (decision.again !== null) this.look(decision.again + 1)
    for (const { release, state, failingFor } of this.#instances.values()) {
      const { steady, deadline } = release.update
      if (steady > 0) this.look(Math.min(steady, RETRY_MS))
      if (state !== 'passing' && failingFor < deadline) {
        this.look(Math.min(deadline - failingFor + 1, RETRY_MS))
      }
    }
    // A release failed here. Whether another host could try it may change without an event, so this is checked again
    // and again.
    if (view.apps.some(({ failedOn }) => failedOn?.has(this.#key))) this.look(RETRY_MS)
    void this.#prune()
  }

  /** Others may see other hosts for a moment after a change, and one host alone is to prepare a release. */
  #prepare(view: PlacementView) {
    const left = this.#placer.unrest(performance.now())
    if (left <= 0) this.#preparer.look(view)
    this.look(Math.max(left + 1, RETRY_MS))
  }

  /**
   * Whether this host has lost the right to run apps. If nothing is known of any right, our copy may only lack it, so
   * that ends nothing.
   */
  #isPutOut(): boolean {
    const { grants } = this.#options.replica.membership
    const isKnown = grants.statementsAbout(this.#key).length > 0
    return isKnown && !grants.allows(this.#key, { kind: 'host' })
  }

  /** Stops all apps, because this host may not run any. */
  #endAll() {
    this.#waitsFor = 'this host was not granted the right to run apps'
    for (const { occupancy } of this.#instances.values()) {
      const { app, slot, hash: release } = occupancy
      this.#do({ action: 'stop', why: 'removed', app, slot, host: this.#key, release })
    }
  }

  #do(change: Change) {
    const { action, app, slot } = change
    const id = `${action} ${idOf(change)}`
    if (this.#underWay.has(id)) return
    this.#underWay.add(id)
    this.#queue
      .run(`${app} ${slot}`, () => (action === 'start' ? this.#start(change) : this.#stop(change)))
      .catch((error) => {
        if (!this.#isClosed) this.emit('notice', error as SeaportError)
        return new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
      })
      .finally(() => {
        this.#underWay.delete(id)
        this.look()
      })
  }

  async #start(change: Change) {
    const { app, slot, release: hash } = change
    if (this.#isClosed || this.#instances.has(idOf(change))) return
    try {
      await this.fetch(hash)
      if (this.#isClosed) return
      await this.#begin({ app, slot, hash, createdAt: Date.now() })
      this.#judge.started(change)
    } catch (error) {
      this.#judge.troubled(change, error as Error)
      throw error
    }
  }

  async #begin(occupancy: Occupancy) {
    const { keyPair, name, folder, driver, users, member, drainTimeout, checkInterval } =
      this.#options
    const { app, slot, hash } = occupancy
    const release = this.#releases.get(hash) ?? (await folder.release(hash))
    if (!release) throw notHere(hash)
    const bundle = await this.#bundleOf(hash, release)
    this.#releases.set(hash, release)
    const instance = new HostedInstance({
      ...occupancy,
      release,
      bundle,
      folder: folder.instanceFolder(app, slot),
      ...this.#limitsOf(app),
      driver,
      users,
      host: keyPair,
      hostName: name,
      member,
      mayUse: (role, version) => this.#mayUse(app, role, version),
      drainTimeout,
      checkInterval
    })
    this.#instances.set(idOf(occupancy), instance)
    instance.on('change', () => {
      this.emit('instance', instance.status)
      this.look()
    })
    await instance.start()
  }

  /** The folder of a bundle that is here, unpacked and set up. */
  async #bundleOf(hash: string, release: Release): Promise<string> {
    const { folder } = this.#options
    const entries = await folder.store.list(release.bundle)
    if (!entries) throw notHere(hash)
    return folder.bundle(release, entries, (at, name) =>
      this.#preparer.setUp(hash, release, at, name)
    )
  }

  async #stop(change: Change) {
    const id = idOf(change)
    const instance = this.#instances.get(id)
    if (!instance) return
    await instance.stop()
    this.#instances.delete(id)
    this.emit('instance', instance.status)
  }

  /** Deletes what no kept release and no instance needs. */
  async #prune() {
    const { replica, folder } = this.#options
    if (this.#underWay.size > 0 || !replica.isSynced || replica.registrars.length === 0) return
    const wanted = new Set([...this.#instances.values()].map(({ occupancy }) => occupancy.hash))
    for (const { state, release, kept } of replica.statements.list(APP)) {
      if (state === 'removed') continue
      for (const { release: hash } of [{ release }, ...kept]) wanted.add(hash)
    }
    for (const [hash, since] of this.#fetchedAt) {
      if (performance.now() - since < PUSHED_MS) wanted.add(hash)
      else this.#fetchedAt.delete(hash)
    }
    const known = [...this.#releases].filter(([hash]) => !wanted.has(hash))
    if (known.length === 0) return
    for (const [hash] of known) this.#releases.delete(hash)
    const releases = await Promise.all(
      [...wanted].map(async (hash) => ({ hash, release: await folder.release(hash) }))
    )
    await folder.prune(
      releases.flatMap(({ hash, release }) => (release ? [{ hash, release }] : []))
    )
  }

  /** The host dials in its own name, so it has to see to it that nobody gains rights by deploying an app. */
  #mayUse(app: string, role: string, version: string): boolean {
    const { statements, membership } = this.#options.replica
    const statement = statements.get(APP, app)
    return (
      !statement || membership.grants.allows(statement.issuer, { kind: 'consume', role, version })
    )
  }

  /** What an instance of an app may use: memory in bytes, 0 for no limit, and cores, null for all. */
  #limitsOf(app: string): { memory: number; cpu: number | null } {
    const { memory = 0, cpu = null } = this.#options.replica.statements.get(APP, app)?.place ?? {}
    return { memory, cpu }
  }

  #viewOf({ occupancy, state, passingFor, release }: HostedInstance): InstanceView {
    const { app, slot, hash } = occupancy
    const isSteady = state === 'passing' && passingFor >= release.update.steady
    return {
      app,
      slot,
      host: this.#key,
      release: hash,
      state: state === 'ended' ? 'ending' : state === 'passing' && !isSteady ? 'starting' : state
    }
  }

  #isSteady({ instance }: KnownInstance, steady: number): boolean {
    const { servicePublicKey: key, status } = instance
    if (status !== 'passing') {
      this.#passing.delete(key)
      return status === 'stale'
    }
    const since = this.#passing.get(key) ?? performance.now()
    this.#passing.set(key, since)
    const left = since + steady - performance.now()
    if (left > 0) this.look(left + 1)
    return left <= 0
  }
}

function notHere(hash: string): SeaportError {
  return SeaportError.NOT_FOUND(`the release ${hash.slice(0, 8)}… is not here, or not all of it`)
}

function idOf({ app, slot }: { app: string; slot: number }): string {
  return `${app} ${slot}`
}
