import { EventEmitter, once } from 'node:events'
import { join } from 'node:path'
import { type Callable, callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { registryKeysOf, toHex } from './core/keys.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { linksOf } from './dialing/links.js'
import type { AppFile } from './hosting/app-file.js'
import { isLogLine } from './hosting/app-log.js'
import {
  type AppInstanceView,
  type AppStatus,
  instancesIn,
  silentIn,
  statusOf
} from './hosting/app-status.js'
import { ChunkStore } from './hosting/bundle/chunk-store.js'
import type { Bundle } from './hosting/bundle/pack.js'
import { CHUNKS } from './hosting/chunks/chunk-frames.js'
import { hostsOf, type KnownHost } from './hosting/fleet.js'
import { formerRelease } from './hosting/former-release.js'
import { HostControl } from './hosting/host-control.js'
import { areLogLines, type LogLines, type LogTerms } from './hosting/log-lines.js'
import { mergeItems } from './hosting/merge-items.js'
import {
  outcomeOf,
  overruledOutcomes,
  type ReleaseOutcome,
  releasesWithOutcomes
} from './hosting/outcome.js'
import { prepareBundle } from './hosting/prepare-bundle.js'
import { placeOf, type Release, releaseOf } from './hosting/release.js'
import { spreadRelease } from './hosting/spread-release.js'
import { verdictsOn } from './hosting/verdicts.js'
import type { LinkPool } from './link/pool.js'
import { checkOptions } from './option-shapes.js'
import { defaultDir } from './registry/log/storage.js'
import { type MemberOptions, Participant } from './registry/replica/participant.js'
import {
  APP,
  type AppFields,
  type AppStatement,
  driverOf,
  OVERRULED,
  signApp,
  signDrain
} from './registry/trust/signed.js'

export { readAppFile } from './hosting/app-file.js'
export type { AppInstanceView, AppStatus } from './hosting/app-status.js'
export { FolderWatch } from './hosting/folder-watch.js'
export { buildApp } from './hosting/prepare-bundle.js'

/** What commands apps. */
export interface AppsOptions extends Omit<MemberOptions, 'registryPublicKey'> {
  /** Hex, z-base-32 or 32 bytes. Needed without the seed. */
  registryPublicKey?: Buffer | string | undefined
  /** The registry's seed; or leave it out and deploy with this process's key, if that was granted it. */
  seed?: Buffer | string | undefined
  /** How long to look for a registrar, in ms. */
  timeout?: number | undefined
}

export interface AppsEvents {
  denied: [reason: SeaportError]
  notice: [notice: SeaportError]
  /** A folder was built and packed. What changes in it from now on is not in that release. */
  packed: [bundle: Bundle]
}

/** A folder that was packed, and which hosts have all of it. */
export interface Pushed {
  file: AppFile
  /** The hash of the release. */
  hash: string
  bundle: Bundle
  hosts: KnownHost[]
}

const TIMEOUT_MS = 10_000
const VERB = 'apps'

/** Says what is wanted of apps, and how they are. */
class AppsFace extends EventEmitter<AppsEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  readonly #registry: Buffer
  readonly #participant: Participant
  readonly #dir: string
  #timeout: number
  #denial: SeaportError | null = null
  #pool: LinkPool | null = null
  readonly #control: HostControl

  /** @throws BAD_KEY, OFFLINE, USAGE */
  constructor(options: AppsOptions) {
    super()
    checkOptions(options)
    const { seed, registryPublicKey, dir, bootstrap, host } = options
    const { registry, keyPair } = registryKeysOf(seed, registryPublicKey)
    this.#registry = registry
    this.#timeout = options.timeout ?? TIMEOUT_MS
    this.#dir = join(dir ?? defaultDir(this.#registry, VERB), 'bundles')
    const member = { registry, bootstrap, host, dir, verb: VERB, as: 'observer', keyPair } as const
    this.#participant = Participant.acquire(member)
    this.#control = new HostControl({
      registryPublicKey: this.#registry,
      ...{ dir, bootstrap, host, keyPair },
      verb: VERB,
      timeout: this.#timeout,
      hosts: () => this.hosts()
    })
  }

  /** @throws REGISTRAR_NOT_FOUND, NOT_GRANTED, STORAGE_FAILED, CLOSED */
  async setup({ timeout }: SetupOptions = {}): Promise<this> {
    this.#timeout = timeout ?? this.#timeout
    await this.#lifecycle.begin()
    return this
  }

  /** Leaves the registry. What was put into it goes on. */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /** What is wanted of all apps, by name. Removed ones are left out. */
  list(): AppStatement[] {
    const all = this.#participant.replica.statements.list(APP)
    return all.filter(({ state }) => state !== 'removed').sort((a, b) => (a.app < b.app ? -1 : 1))
  }

  /** The machines that may run apps. */
  hosts(): KnownHost[] {
    return hostsOf(this.#participant.replica)
  }

  /**
   * Packs a folder with an app file, and has hosts fetch it: two of them, or the only one. What runs is not touched.
   *
   * @param onprogress what happens, as people read it
   * @throws BAD_CONFIG, BAD_BUNDLE, NO_INSTANCE, NOT_GRANTED, DISK_FULL
   */
  push(folder: string, onprogress: (text: string) => void = () => {}): Promise<Pushed> {
    return this.#push(folder, onprogress, async (pushed) => pushed)
  }

  /**
   * Pushes a folder, and has it run, in place of what ran before.
   *
   * @throws as `push` does, and CONFLICT, HOSTNAME_TAKEN, REGISTRAR_NOT_FOUND
   */
  run(folder: string, onprogress: (text: string) => void = () => {}): Promise<AppStatement> {
    return this.#push(folder, onprogress, ({ file, hash, bundle }) => {
      const { name: app, version, instances, hostnames, before } = file
      return this.#put({
        ...{ app, state: 'running', version, release: hash, instances, hostnames, restarts: 0 },
        before: before ? true : undefined,
        place: placeOf(file, bundle)
      })
    })
  }

  /** @throws NOT_FOUND, CONFLICT, NOT_GRANTED */
  start(app: string): Promise<AppStatement> {
    return this.#change(app, { state: 'running' })
  }

  /** Ends its instances. Its hostnames and its releases stay. @throws as `start` does */
  stop(app: string): Promise<AppStatement> {
    return this.#change(app, { state: 'stopped' })
  }

  /** Ends its instances, and gives its name and hostnames back. @throws as `start` does */
  remove(app: string): Promise<AppStatement> {
    return this.#change(app, { state: 'removed' })
  }

  /** @throws as `start` does, and USAGE */
  scale(app: string, instances: number | 'all'): Promise<AppStatement> {
    if (instances !== 'all' && !(Number.isInteger(instances) && instances >= 0)) {
      throw SeaportError.USAGE(`how many instances? A number, or all, not ${instances}`)
    }
    if (this.#known(app).place.single && instances !== 0 && instances !== 1) {
      throw SeaportError.USAGE(
        `two of ${app} must never run at once (place.single), so it has 1 instance, or 0, and not ${instances}`
      )
    }
    return this.#change(app, { instances })
  }

  /** Goes back to an earlier release: the one before, or the last one of a version. @throws as `start` does */
  rollback(app: string, version?: string): Promise<AppStatement> {
    const [, ...former] = this.history(app)
    const { release, before, ...found } = formerRelease(app, former, version)
    const place = { ...this.#known(app).place, driver: driverOf(found) }
    return this.#change(app, { version: found.version, release, before, place })
  }

  /** Replaces each instance by a new one of the same version. @throws as `start` does */
  async restart(app: string): Promise<AppStatement> {
    const known = this.#known(app)
    const { current } = this.#outcome(known)
    const hash = current.release
    const release = await this.#control.release(app, hash)
    const store = new ChunkStore(join(this.#dir, 'chunks'), { minFree: 0 })
    // The program is the same, so what has to run before it did run.
    const next = { ...release, before: null, former: hash, madeAt: Date.now() }
    const { hash: started } = await this.#spread(store, next)
    const change = { version: release.version, release: started, before: undefined }
    const place = { ...known.place, driver: driverOf(current) }
    return this.#change(app, { ...change, restarts: known.restarts + 1, place })
  }

  /** The releases that hosts keep, the wanted one first, and what became of each; then what was `overruled`. @throws NOT_FOUND */
  history(app: string): ReleaseOutcome[] {
    const statement = this.#known(app)
    const { replica } = this.#participant
    const verdicts = verdictsOn(replica, statement, this.hosts())
    const lost = replica.statements.get(OVERRULED, app)?.changes
    return [
      ...releasesWithOutcomes(statement, verdicts),
      ...overruledOutcomes(statement, verdicts, lost)
    ]
  }

  /** What hosts run of an app, whatever is wanted of it, as they say within a second; and which of them are silent. */
  async running(app: string): Promise<{ instances: AppInstanceView[]; silent: string[] }> {
    const answers = await Promise.all(this.hosts().map((host) => this.#control.ask(host)))
    return { instances: instancesIn(answers, app), silent: silentIn(answers) }
  }

  /** What an app does, as its hosts say within a second. @throws NOT_FOUND */
  async status(app: string): Promise<AppStatus> {
    const statement = this.#known(app)
    const answers = await Promise.all(this.hosts().map((host) => this.#control.ask(host)))
    const { replica, keyPair, membership } = this.#participant
    return statusOf(statement, this.#outcome(statement), answers, replica.directory, ({ labels }) =>
      membership.grants.allows(toHex(keyPair.publicKey), { kind: 'deploy', app, labels })
    )
  }

  /**
   * Lines of the logs of all instances, as hosts have them. Leaving the loop ends it.
   *
   * @throws NOT_FOUND, NO_INSTANCE, NOT_GRANTED
   */
  async *logs(
    app: string,
    { lines = 100, ...terms }: LogTerms = {}
  ): AsyncGenerator<LogLines & { hostName: string }, void, void> {
    this.#known(app)
    const sources = await this.#control.logs(app, { lines, ...terms })
    for await (const { name, item } of mergeItems(sources)) {
      if (!areLogLines(item)) continue
      const lines = item.lines.filter(isLogLine)
      if (lines.length > 0) yield { ...item, lines, hostName: name }
    }
  }

  /**
   * Has a host emptied of its apps, or used again.
   *
   * @param host its key, or its name
   * @throws NOT_FOUND, NOT_GRANTED
   */
  async drain(host: string, isDraining = true): Promise<KnownHost> {
    const matching = this.hosts().filter((one) => one.host.startsWith(host) || one.name === host)
    const [found] = matching
    if (!found || matching.length > 1) {
      throw SeaportError.NOT_FOUND(
        `${matching.length === 0 ? 'no host' : 'more than one host'} is called ${host}; see 'hyperseaport hosts'`
      )
    }
    const { replica, keyPair } = this.#participant
    await replica.put(
      signDrain(this.#registry, keyPair, { host: Buffer.from(found.host, 'hex'), isDraining })
    )
    return found
  }

  /** Resolves when a registrar is there: only they write down what is wanted. @throws CLOSED */
  async reached(): Promise<void> {
    const { replica } = this.#participant
    if (replica.registrars.length > 0) return
    await this.#lifecycle.unlessDestroyed(once(replica, 'registrar'))
  }

  /** Calls the listener when something may have changed, until the returned function is called. */
  watch(listener: () => void): () => void {
    const { directory, statements } = this.#participant.replica
    const stops = [directory.watch(listener), statements.watchAll(listener)]
    return () => {
      for (const stop of stops) stop()
    }
  }

  async #start() {
    this.#participant.on('denied', this.#ondenied)
    this.#participant.on('notice', this.#onnotice)
    const deadline = performance.now() + this.#timeout
    const left = () => deadline - performance.now()
    const late = () => this.#denial ?? this.#participant.notFound()
    await this.#lifecycle.waitFor(this.#participant.ready(), left(), late)
    await this.#lifecycle.waitFor(this.#participant.replica.synced(), left(), late)
    this.#pool = linksOf(this.#participant)
  }

  async #stop() {
    this.#participant.off('denied', this.#ondenied)
    this.#participant.off('notice', this.#onnotice)
    await this.#control.close()
    await this.#participant.release(async () => this.#pool?.close())
  }

  /** Pushes a folder. What is old here is deleted only when `then` has done what follows. */
  async #push<T>(
    folder: string,
    onprogress: (text: string) => void,
    then: (pushed: Pushed) => Promise<T>
  ): Promise<T> {
    const { file, bundle, store, expire } = await prepareBundle(folder, this.#dir, onprogress)
    try {
      this.emit('packed', bundle)
      const former = this.#statement(file.name)?.release ?? null
      const release = releaseOf(file, bundle, { former })
      return await then({ file, bundle, ...(await this.#spread(store, release, onprogress)) })
    } finally {
      await expire().catch((notice) => this.emit('notice', notice))
    }
  }

  /** Has hosts fetch a release from us. */
  async #spread(
    store: ChunkStore,
    release: Release,
    onprogress: (text: string) => void = () => {}
  ) {
    const { keyPair, membership } = this.#participant
    const pool = this.#pool as LinkPool
    return spreadRelease(
      {
        store,
        key: toHex(keyPair.publicKey),
        connect: (key, signal) => pool.open(key, { purpose: CHUNKS, signal }),
        authorize: (key) => membership.grants.allows(key, { kind: 'host' }),
        hosts: this.hosts(),
        send: (host, hash, signal) => this.#control.fetch(host, release.app, hash, signal)
      },
      release,
      onprogress
    )
  }

  #outcome(statement: AppStatement) {
    return outcomeOf(statement, verdictsOn(this.#participant.replica, statement, this.hosts()))
  }

  #statement(app: string): AppStatement | null {
    return this.#participant.replica.statements.get(APP, app)
  }

  #known(app: string): AppStatement {
    const statement = this.#statement(app)
    if (statement && statement.state !== 'removed') return statement
    throw SeaportError.NOT_FOUND(
      `there is no app ${app}; 'hyperseaport app list' shows those there are`
    )
  }

  #change(app: string, more: Partial<AppFields>): Promise<AppStatement> {
    const known = this.#known(app)
    const { state, version, release, before, instances, hostnames, place, restarts } = known
    const fields = { app, state, version, release, before, instances, place, restarts }
    return this.#put({ ...fields, hostnames: Object.keys(hostnames), ...more })
  }

  async #put(fields: AppFields): Promise<AppStatement> {
    const { replica, keyPair } = this.#participant
    const next = signApp(this.#registry, keyPair, fields, this.#statement(fields.app))
    await replica.put(next)
    return next
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  readonly #ondenied = (reason: SeaportError) => {
    this.#denial = reason
    this.emit('denied', reason)
  }
}

export interface Apps extends AppsFace {}

/** Makes what commands apps; `new` works as well, and so does `extends`. */
export const Apps: Callable<[options: AppsOptions], Apps> = callable('Apps', AppsFace)
