import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { KeyedQueue } from '../core/keyed-queue.js'
import { type KeyPair, toHex } from '../core/keys.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import type { Replica } from '../registry/replica/replica.js'
import { APP } from '../registry/trust/signed.js'
import { AppTerms } from './app-terms.js'
import { Arrivals } from './arrivals.js'
import type { ChunkExchange } from './chunks/chunk-exchange.js'
import type { AppUsers } from './driver/app-users.js'
import type { Driver } from './driver/driver.js'
import { fleetOf, type KnownInstance } from './fleet.js'
import type { HostFolder } from './host-folder.js'
import { HostJudge } from './host-judge.js'
import { HostedInstance, type InstanceStatus } from './hosted-instance.js'
import { type FetchTerms, KeptReleases } from './kept-releases.js'
import type { Occupancy } from './occupancy.js'
import { PassingTimes } from './passing-times.js'
import type { Change } from './placement.js'
import type { InstanceView, PlacementView } from './placement-view.js'
import { Placer, type PlacerTimings } from './placer.js'
import { Preparer } from './preparer.js'
import type { Release } from './release.js'
import { RETRY_MS, retryPause } from './retry-pause.js'
import { SingleWatch } from './single-watch.js'

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
  timings?: Partial<HostTimings> | undefined
  /** Keys of the registrars that hold a lease of this host. */
  holders: () => readonly string[]
  /** Says in the host's record which apps it declines now. */
  decline: (apps: readonly string[]) => void
  drainTimeout?: number | undefined
  checkInterval?: number | undefined
}

/** In ms. */
export interface HostTimings extends PlacerTimings {
  /** For how long what is single runs on without leases. */
  graceSingle: number
}

interface HostAgentEvents {
  /** An instance was started or stopped, or is in another state. */
  instance: [status: InstanceStatus]
  /** Something that may need a person's attention; the host goes on. */
  notice: [notice: SeaportError]
}

/** The least time between two looks, in ms, so that changes at the same time are handled together. */
const PAUSE_MS = 50
/** How often logs are looked for that are kept no longer, in ms. */
const EXPIRY_MS = 3_600_000
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
  readonly #terms: AppTerms
  readonly #preparer: Preparer
  readonly #instances = new Map<string, HostedInstance>()
  readonly #releases: KeptReleases
  readonly #arrivals: Arrivals
  readonly #singles: SingleWatch
  readonly #passing = new PassingTimes()
  /** Runs the changes of each app one after the other. */
  readonly #queue = new KeyedQueue()
  /** The releases of changes that are under way, by the changes' targets. */
  readonly #underWay = new Map<string, string>()
  readonly #stops: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null
  #dueAt = Infinity
  #isClosed = false
  #waitsFor: string | null = null
  #declined: readonly string[] = []

  constructor(options: HostAgentOptions) {
    super()
    this.#options = options
    this.#key = toHex(options.keyPair.publicKey)
    const { timings = {}, keyPair, replica, member, name, folder, driver, users } = options
    this.#placer = new Placer({ host: this.#key, timings })
    this.#releases = new KeptReleases(options)
    this.#terms = new AppTerms(replica)
    this.#arrivals = new Arrivals(this.#key, this.#placer)
    this.#singles = new SingleWatch({ ...options, grace: timings.graceSingle })
    this.#judge = new HostJudge({ keyPair, replica, registry: member.registryPublicKey })
    this.#judge.on('done', () => this.look())
    this.#judge.on('notice', (notice) => this.emit('notice', notice))
    this.#preparer = new Preparer({
      ...{ host: this.#key, hostName: name, folder, driver, users },
      ...{ member, terms: this.#terms },
      fetch: (hash, app) => this.fetch(hash, { app }),
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

  /** Why what must never run twice may not be started here; null if it may. */
  get waitsForSingles(): string | null {
    return this.#singles.waitsFor ?? this.#placer.whyNoSingle(performance.now())
  }

  get instances(): InstanceStatus[] {
    return [...this.#instances.values()].map(({ status }) => status)
  }

  /** The instances of an app on this host. */
  instancesOf(app: string): HostedInstance[] {
    return [...this.#instances.values()].filter(({ occupancy }) => occupancy.app === app)
  }

  /** The logs of an app's instances that have ended here. */
  endedLogs(app: string) {
    return this.#options.folder.endedLogs(app)
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
    await Promise.all([this.#queue.idle(), this.#releases.close()])
    const instances = [...this.#instances.values()]
    const ends = ({ occupancy }: HostedInstance) => stopApps || occupancy.single
    await Promise.all(instances.map((one) => (ends(one) ? one.stop() : one.leave())))
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
  fetch(hash: string, terms: FetchTerms): Promise<Release> {
    return this.#releases.fetch(hash, terms).finally(() => this.look())
  }

  #act() {
    const { replica } = this.#options
    const instances = [...this.#instances.values()].map((one) => this.#viewOf(one))
    const own = { host: this.#key, instances, releases: this.#releases }
    const fleet = fleetOf(replica, own, (one, steady) => this.#isSteady(one, steady))
    if (this.#isPutOut()) {
      this.#waitsFor = 'this host was not granted the right to run apps'
      return this.#drop(this.#instances.values())
    }
    const singles = this.#singles.look(this.#instances.values())
    this.#drop(singles.ended)
    const view = { ...fleet, mayStartSingle: this.#singles.mayStart }
    const now = performance.now()
    this.#drop(this.#arrivals.look(view, now))
    this.#declineAs([...this.#placer.declines(now)])
    const decision = this.#placer.look(view, now)
    this.#waitsFor = decision.waitsFor
    for (const change of decision.changes) this.#do(change)
    if (singles.again !== null) this.look(singles.again + 1)
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
    void this.#prune(view).catch((error) => this.emit('notice', error as SeaportError))
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

  #declineAs(apps: readonly string[]) {
    if (String(apps) === String(this.#declined)) return
    this.#declined = apps
    this.#options.decline(apps)
  }

  /** Stops instances, whatever placement says. */
  #drop(instances: Iterable<HostedInstance>) {
    for (const { occupancy } of instances) {
      const { app, slot, hash: release } = occupancy
      this.#do({ action: 'stop', why: 'removed', app, slot, host: this.#key, release })
    }
  }

  #do(change: Change) {
    const { action, app, slot } = change
    const id = `${action} ${idOf(change)}`
    if (this.#underWay.has(id)) return
    this.#underWay.set(id, change.release)
    this.#queue
      .run(`${app} ${slot}`, () => (action === 'start' ? this.#start(change) : this.#stop(change)))
      .catch((error) => {
        if (!this.#isClosed) this.emit('notice', error as SeaportError)
        return retryPause()
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
      await this.fetch(hash, { app })
      const isSingle = this.#options.replica.statements.get(APP, app)?.place.single === true
      if (this.#isClosed || (isSingle && !this.#singles.mayStart)) return
      const single = isSingle && { single: true as const }
      this.#arrivals.add(await this.#begin({ app, slot, hash, createdAt: Date.now(), ...single }))
      this.#judge.started(change)
    } catch (error) {
      this.#judge.troubled(change, error as Error)
      throw error
    }
  }

  async #begin(occupancy: Occupancy): Promise<HostedInstance> {
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
      ...this.#terms.limitsOf(app),
      ...{ driver, users, member, drainTimeout, checkInterval },
      host: keyPair,
      hostName: name,
      mayUse: (role, version) => this.#terms.mayUse(app, role, version)
    })
    this.#instances.set(idOf(occupancy), instance)
    instance.on('change', () => {
      this.emit('instance', instance.status)
      this.look()
    })
    await instance.start().catch(async (error) => {
      // It is tried again, and finds what runs by then.
      this.#instances.delete(idOf(occupancy))
      await instance.leave()
      throw error
    })
    return instance
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
  async #prune({ apps }: PlacementView) {
    const { replica } = this.#options
    if (!replica.isSynced || replica.registrars.length === 0) return
    const running = () => [...this.#instances.values()].map(({ occupancy }) => occupancy.hash)
    const again = await this.#releases.prune(() => ({
      used: [...running(), ...this.#underWay.values(), ...apps.map(({ release }) => release)],
      unproven: new Set(apps.flatMap(({ app, isComplete }) => (isComplete ? [] : [app])))
    }))
    if (again < Infinity) this.look(again + 1)
  }

  #viewOf({ occupancy, state, isSteady }: HostedInstance): InstanceView {
    const { app, slot, hash } = occupancy
    return {
      app,
      slot,
      host: this.#key,
      release: hash,
      state: state === 'ended' ? 'ending' : state === 'passing' && !isSteady ? 'starting' : state
    }
  }

  #isSteady({ instance }: KnownInstance, steady: number): boolean {
    const left = this.#passing.left(instance, steady)
    if (left > 0 && Number.isFinite(left)) this.look(left + 1)
    return left <= 0
  }
}

function notHere(hash: string): SeaportError {
  return SeaportError.NOT_FOUND(`the release ${hash.slice(0, 8)}… is not here, or not all of it`)
}

function idOf({ app, slot }: { app: string; slot: number }): string {
  return `${app} ${slot}`
}
