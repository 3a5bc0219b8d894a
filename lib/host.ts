import { EventEmitter } from 'node:events'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Admin } from './admin.js'
import { type Callable, callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { KeyPair, parseKey, toHex } from './core/keys.js'
import { parseLabel } from './core/label.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { linksOf } from './dialing/links.js'
import { ChunkExchange } from './hosting/chunks/chunk-exchange.js'
import { CHUNKS } from './hosting/chunks/chunk-frames.js'
import { AppUsers } from './hosting/driver/app-users.js'
import { type Abilities, BUBBLEWRAP, PROCESS } from './hosting/driver/driver.js'
import { ProcessDriver } from './hosting/driver/process-driver.js'
import { tagsOf } from './hosting/fleet.js'
import { HostAgent, type HostTimings } from './hosting/host-agent.js'
import { hostCommands } from './hosting/host-commands.js'
import { HostFolder } from './hosting/host-folder.js'
import type { InstanceStatus } from './hosting/hosted-instance.js'
import type { LinkPool } from './link/pool.js'
import { checkOptions } from './option-shapes.js'
import { keepProcessKey } from './registry/log/own-keys.js'
import { defaultDir } from './registry/log/storage.js'
import { type MemberOptions, Participant } from './registry/replica/participant.js'
import { HOST_ROLE } from './registry/trust/rights.js'
import { Service } from './service.js'

/** What a host is told. */
export interface HostOptions extends Omit<MemberOptions, 'registryPublicKey'> {
  /** Hex, z-base-32 or 32 bytes. Needed without the seed. */
  registryPublicKey?: Buffer | string | undefined
  /** The registry's seed: the host grants itself the right to run apps then. */
  seed?: Buffer | string | undefined
  /** What it is called. Default: the name of the machine. */
  name?: string | undefined
  /** `region=eu`, each: apps may ask for them. */
  labels?: readonly string[] | undefined
  /** Bytes that it gives to apps. Default: it does not count them. */
  memory?: number | undefined
  /**
   * What runs apps here: `process`, and `bubblewrap` for those that ask for a sandbox. With `bubblewrap` alone no others
   * are run. Default: both, where there is bubblewrap.
   */
  drivers?: readonly string[] | undefined
  /** Part of the disk that stays free, from 0 to 1. */
  minFree?: number | undefined
  /**
   * Users for apps, as in `61000-61999`: each app has one of its own, and reads nothing of the others or of the host.
   * The host has to be root. Default: all run as the host does.
   */
  uids?: string | undefined
  /** Whether apps end with the host. Default: they go on, and its next process finds them. */
  stopApps?: boolean | undefined
  /** How long open streams may go on when an instance is stopped, in ms. */
  drainTimeout?: number | undefined
  /** How long placement waits before it acts, in ms. For tests. */
  timings?: Partial<HostTimings> | undefined
  /** Between two checks of an instance, in ms. */
  checkInterval?: number | undefined
}

/** What a host emits. */
export interface HostEvents {
  /** Its key is known. */
  listening: [key: string]
  /** A registrar confirmed it. */
  registered: []
  /** The registry does not let it in. */
  denied: [reason: SeaportError]
  /** An instance was started or stopped, or is in another state. */
  instance: [status: InstanceStatus]
  /** Something that may need a person's attention; the host goes on. */
  notice: [notice: SeaportError]
}

const VERSION = '1.0.0'
const MAX_LABELS = 10
const DRIVERS: readonly string[] = [PROCESS, BUBBLEWRAP]
const VERB = 'host'

/** A machine that runs apps. */
class HostFace extends EventEmitter<HostEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  readonly #options: HostOptions
  readonly #registry: Buffer
  readonly #seed: KeyPair | null
  readonly #labels: string[]
  readonly #dir: string
  readonly #participant: Participant
  readonly #users: AppUsers | null
  #keyPair: KeyPair | null = null
  #admin: Admin | null = null
  #abilities: string[] = []
  #drivers: string[] = []
  #pool: LinkPool | null = null
  #exchange: ChunkExchange | null = null
  #agent: HostAgent | null = null
  #control: Service | null = null

  /** @throws BAD_KEY, OFFLINE, USAGE */
  constructor(options: HostOptions) {
    super()
    checkOptions(options)
    this.#options = options
    const { seed, labels = [], bootstrap, host } = options
    this.#seed = seed === undefined ? null : KeyPair(parseKey(seed, 'registry seed'))
    this.#registry =
      this.#seed?.publicKey ?? parseKey(options.registryPublicKey ?? '', 'registry public key')
    this.#labels = labels.slice(0, MAX_LABELS)
    for (const label of labels) parseLabel(label)
    for (const driver of options.drivers ?? []) checkDriver(driver)
    this.#dir = options.dir ?? defaultDir(this.#registry, VERB)
    this.#users = options.uids === undefined ? null : new AppUsers(this.#dir, options.uids)
    // Its instances are services in the same folder, and share this one.
    this.#participant = Participant.acquire({
      registry: this.#registry,
      bootstrap,
      host,
      dir: this.#dir,
      verb: VERB
    })
  }

  /** Its public key, hex. Known after `listening`. */
  get key(): string {
    return this.#keyPair ? toHex(this.#keyPair.publicKey) : ''
  }

  /** What runs here. */
  get instances(): InstanceStatus[] {
    return this.#agent?.instances ?? []
  }

  /** What it can do for apps: limit their `memory`, `pids` and `cpu`, and have each run as one of its own `users`. */
  get abilities(): readonly string[] {
    return this.#abilities
  }

  /** What runs apps here: `process`, and `bubblewrap` for those that ask for a sandbox. */
  get drivers(): readonly string[] {
    return this.#drivers
  }

  /** Why nothing is decided here yet, null if it is. */
  get waitsFor(): string | null {
    return this.#agent?.waitsFor ?? null
  }

  /**
   * Resolves when what ran before was found again. The registry may come later.
   *
   * @throws STORAGE_FAILED, UNSUPPORTED_DEPENDENCY, BAD_CONFIG, USAGE, CLOSED
   */
  async setup(options: SetupOptions = {}): Promise<this> {
    void options
    await this.#lifecycle.begin()
    return this
  }

  /** Withdraws and drains. Apps go on, unless `stopApps` was given. */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  async #start() {
    const { name = hostname(), memory = 0, minFree, drainTimeout, drivers } = this.#options
    const driver = new ProcessDriver({
      needsUser: this.#users !== null,
      needsSandbox: isGiven(drivers) && !drivers.includes(PROCESS),
      dir: this.#dir
    })
    const available = await driver.available()
    this.#abilities = abilitiesOf(available, this.#users !== null)
    this.#drivers = driversOf(available, drivers)
    const keyPair = await keepProcessKey(this.#registry, this.#dir)
    this.#keyPair = keyPair
    this.emit('listening', this.key)
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    const granted = this.#seed ? this.#grantItself() : Promise.resolve()
    // It may fail before anybody awaits it, which would count as unhandled.
    granted.catch(() => {})
    const folder = new HostFolder(this.#dir, minFree === undefined ? {} : { minFree })
    // What ran here before is brought back, whether a registrar is there or not.
    if ((await folder.kept()).length === 0) await this.#lifecycle.unlessDestroyed(granted)
    await this.#lifecycle.unlessDestroyed(this.#participant.ready())
    await this.#users?.prepare()
    const { replica, membership } = this.#participant
    const { grants } = membership
    const pool = linksOf(this.#participant)
    this.#pool = pool
    const exchange = new ChunkExchange({
      store: folder.store,
      key: this.key,
      connect: (key, signal) => pool.open(key, { purpose: CHUNKS, signal }),
      authorize: (key) => grants.allows(key, { kind: 'host' })
    })
    exchange.on('notice', this.#onnotice)
    this.#exchange = exchange
    const member = {
      registryPublicKey: this.#registry,
      dir: this.#dir,
      bootstrap: this.#options.bootstrap,
      host: this.#options.host
    }
    const agent = new HostAgent({
      ...{ keyPair, name, replica, folder, exchange, driver, member, drainTimeout },
      users: this.#users,
      timings: this.#options.timings,
      holders: () => this.#control?.registration?.holders ?? [],
      decline: (declines) => this.#control?.registration?.update({ declines }),
      checkInterval: this.#options.checkInterval
    })
    this.#agent = agent
    agent.on('instance', (status) => this.emit('instance', status))
    agent.on('notice', this.#onnotice)
    const traits = {
      name,
      labels: this.#labels,
      platform: `${process.platform}-${process.arch}`,
      memory,
      drivers: this.#drivers,
      abilities: this.#abilities
    }
    const control = Service({
      ...member,
      role: `${HOST_ROLE}@${VERSION}`,
      keyPair,
      tags: tagsOf(traits),
      commands: hostCommands(agent, folder, grants, new Set(this.#labels)),
      purposes: { [CHUNKS]: (stream, remote) => exchange.accept(stream, remote) },
      timeout: Infinity
    })
    this.#control = control
    control.on('registered', () => {
      agent.look()
      this.emit('registered')
    })
    granted
      .then(() => control.setup())
      .catch((error: SeaportError) => {
        if (error.code !== 'CLOSED') this.emit('notice', error)
      })
    await this.#lifecycle.unlessDestroyed(agent.start())
  }

  async #stop() {
    await this.#admin?.destroy()
    await this.#agent?.close(this.#options.stopApps)
    await this.#control?.destroy()
    this.#exchange?.close()
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    await this.#participant.release(async () => this.#pool?.close())
  }

  /** What others granted it stays, and it is granted nothing that it has. */
  async #grantItself() {
    const { bootstrap, host } = this.#options
    const admin = Admin({
      seed: this.#options.seed,
      dir: join(this.#dir, 'admin'),
      bootstrap,
      host,
      timeout: Infinity
    })
    this.#admin = admin
    try {
      await admin.setup()
      const isGranted = admin.list().grants.some((one) => one.subject === this.key && one.host)
      if (!isGranted) await admin.grantMore(this.key, { host: true })
    } finally {
      await admin.destroy()
    }
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)
  readonly #ondenied = (reason: SeaportError) => this.emit('denied', reason)
}

/** @throws USAGE */
function checkDriver(driver: string) {
  if (DRIVERS.includes(driver)) return
  throw SeaportError.USAGE(`there is no driver ${driver}; there is ${DRIVERS.join(', ')}`)
}

/** @throws UNSUPPORTED_DEPENDENCY if bubblewrap was asked for, and is not there */
function driversOf({ noSandbox }: Abilities, wanted: readonly string[] | undefined): string[] {
  if (!isGiven(wanted)) return DRIVERS.filter((one) => one !== BUBBLEWRAP || noSandbox === null)
  if (noSandbox !== null && wanted.includes(BUBBLEWRAP)) {
    throw SeaportError.UNSUPPORTED_DEPENDENCY(`nothing can be shut in here: ${noSandbox}`)
  }
  return DRIVERS.filter((one) => wanted.includes(one))
}

/** An empty list is what a command line without the flag has. */
function isGiven(drivers: readonly string[] | undefined): drivers is readonly string[] {
  return drivers !== undefined && drivers.length > 0
}

function abilitiesOf({ limits, users }: Abilities, wantsUsers: boolean): string[] {
  if (wantsUsers && !users) {
    throw SeaportError.USAGE('only root, where there is setpriv, runs apps as other users (--uids)')
  }
  return wantsUsers ? [...limits, 'users'] : limits
}

export interface Host extends HostFace {}

/** Makes a host; `new` works as well, and so does `extends`. */
export const Host: Callable<[options: HostOptions], Host> = callable('Host', HostFace)
