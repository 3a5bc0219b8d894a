import { EventEmitter } from 'node:events'
import { chmod, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { SeaportError } from '../core/errors.js'
import { type KeyPair, toHex } from '../core/keys.js'
import { printable } from '../core/printable.js'
import { keepKey } from '../registry/log/own-keys.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import { signInstance } from '../registry/trust/signed.js'
import { Service } from '../service.js'
import { freePort } from '../serving/local-port.js'
import { environmentOf } from './app-environment.js'
import { AppInstance, type InstanceState, type StartOptions } from './app-instance.js'
import { AppLog } from './app-log.js'
import { AppUses } from './app-uses.js'
import { type AppUsers, giveData, UNLISTED } from './driver/app-users.js'
import type { Driver } from './driver/driver.js'
import { keepsFailing } from './judging.js'
import { LOG_FILE, type Occupancy, writeEnd, writeOccupancy } from './occupancy.js'
import type { Release } from './release.js'

export interface HostedInstanceOptions extends Occupancy {
  release: Release
  /** The folder of its bundle. */
  bundle: string
  /** The instance's own folder, with its key, its log and its data. */
  folder: string
  /** The memory that it may use, in bytes; 0 for no limit. */
  memory: number
  /** Cores that it may use; null for all. */
  cpu: number | null
  driver: Driver
  /** Null if all run as the host's own user. */
  users: AppUsers | null
  /** The key pair of the host, which signs that it is an instance of the app. */
  host: KeyPair
  hostName: string
  member: MemberOptions & { registryPublicKey: Buffer; dir: string }
  /** Whether whoever deploys the app may consume a role at a version. */
  mayUse: (role: string, version: string) => boolean
  /** How long open streams may go on when it is stopped, in ms. */
  drainTimeout?: number | undefined
  /** Between two checks, in ms. */
  checkInterval?: number | undefined
}

export interface InstanceStatus extends Occupancy {
  version: string
  /** The instance's public key, hex. */
  key: string
  state: InstanceState
  /** Why it does not pass, with the last lines of its output if it keeps ending. */
  reason: string | null
  pid: number | null
  /** How often its program has ended by itself since the host was started. */
  restarts: number
}

const STATE_FILE = 'state.json'
const KEY_FILE = 'seed'
const USES_FILE = 'uses.json'
const DATA_FOLDER = 'data'
const PRIVATE_FOLDER = 0o700
const LAST_LINES = 5
/** How long one that is single may take to leave the network after its program has ended, in ms. */
const LEAVING_MS = 5000

/** One instance of an app on this host: its program, and its place in the registry under a key of its own. */
export class HostedInstance extends EventEmitter<{ change: [] }> {
  readonly occupancy: Occupancy
  readonly release: Release

  /** The log of its output. */
  readonly log: AppLog

  readonly #options: HostedInstanceOptions
  readonly #program: AppInstance
  #keyPair: KeyPair | null = null
  #service: Service | null = null
  #uses: AppUses | null = null
  /** The port that is registered. */
  #port: number | null = null
  #reason: string | null = null
  #isEnding = false
  #stopping: Promise<void> | null = null

  constructor(options: HostedInstanceOptions) {
    super()
    const { app, slot, hash, createdAt, single, release, bundle, folder, driver, hostName } =
      options
    const { memory, cpu } = options
    this.#options = options
    this.occupancy = { app, slot, hash, createdAt, ...(single && { single }) }
    this.release = release
    const { size, files } = release.logs
    this.log = new AppLog({ raw: join(folder, LOG_FILE), folder, size, files })
    this.#program = new AppInstance({
      driver,
      terms: {
        name: nameOf(toHex(options.host.publicKey), app, slot),
        command: release.command,
        folder: bundle,
        data: join(folder, DATA_FOLDER),
        log: join(folder, LOG_FILE),
        memory,
        cpu,
        isBound: single === true,
        sandbox: release.sandbox,
        env: {
          ...environmentOf(release, hostName),
          APP_INSTANCE: `${slot}`
        }
      },
      port: release.port,
      check: release.check,
      checkInterval: options.checkInterval,
      stateFile: join(folder, STATE_FILE)
    })
    this.#program.on('change', (state) => void this.#onchange(state))
    this.#program.on('exit', () => this.emit('change'))
  }

  get state(): InstanceState {
    return this.#isEnding ? 'ending' : this.#program.state
  }

  /** For how long it has passed, in ms. */
  get passingFor(): number {
    return this.#program.passingFor
  }

  /** For how long it has not passed, in ms; 0 if it passes. */
  get failingFor(): number {
    return this.#program.failingFor
  }

  /** Keys of the registrars that hold its record. */
  get holders(): readonly string[] {
    return this.#service?.registration?.holders ?? []
  }

  /** Whether it has passed for as long as its release asks for. */
  get isSteady(): boolean {
    return this.state === 'passing' && this.passingFor >= this.release.update.steady
  }

  /** Whether it ends again and again, or has not passed in time. */
  get keepsFailing(): boolean {
    return keepsFailing(this, this.release.update.deadline)
  }

  get isCrashLooping(): boolean {
    return this.#program.isCrashLooping
  }

  /** Why it does not pass, and the last lines of its output. */
  async explain(): Promise<string> {
    const lines = await this.#lastLines()
    return [this.#program.reason ?? 'its check did not pass in time', ...lines].join('\n')
  }

  get status(): InstanceStatus {
    return {
      ...this.occupancy,
      version: this.release.version,
      key: this.#keyPair ? toHex(this.#keyPair.publicKey) : '',
      state: this.state,
      reason: this.#reason ?? this.#program.reason,
      pid: this.#program.pid,
      restarts: this.#program.stats.exits
    }
  }

  /**
   * Finds the running program, or starts it, and keeps it running.
   *
   * @throws STORAGE_FAILED, and what `AppUses.open` throws
   */
  async start() {
    const { folder, member, mayUse } = this.#options
    await mkdir(join(folder, DATA_FOLDER), { recursive: true, mode: PRIVATE_FOLDER })
    const uid = await this.#userOf(folder)
    this.#keyPair = keepKey(join(folder, KEY_FILE))
    await writeOccupancy(folder, this.occupancy)
    await this.log.open()
    const uses = await AppUses.open({
      uses: this.release.uses,
      file: join(folder, USES_FILE),
      member,
      mayUse,
      ontrouble: (error) => this.#tell(error.message)
    })
    this.#uses = uses
    if (this.#isEnding) return uses.close()
    const options = { env: uses.env, adopts: !uses.hasMoved, uid }
    if (this.occupancy.single) void this.#claim(options)
    else this.#program.start(options)
  }

  /**
   * Registers it before its program is started, on a port that stays the same: what others see they do not start, and it
   * is listed as long as it may run. Never rejects.
   */
  async #claim(options: StartOptions) {
    try {
      // Whether one that was chosen is free is seen when the program is started.
      const port = this.release.port === 0 ? await freePort(0) : this.release.port
      const isRegistered = await this.#register(port)
      if (isRegistered && !this.#isEnding) this.#program.start({ ...options, port })
    } catch (error) {
      this.#tell((error as Error).message)
    }
  }

  /** The user that it runs as, whose its data is, and nothing else in its folder; null for the host's own. */
  async #userOf(folder: string): Promise<number | null> {
    const { users, app } = this.#options
    if (!users) return null
    const uid = await users.uidOf(app)
    await chmod(dirname(folder), UNLISTED)
    await giveData(uid, join(folder, DATA_FOLDER))
    return uid
  }

  /**
   * Withdraws it from the registry, lets its streams end, and ends the program; that first, if two must never run.
   *
   * @param grace how long the program may take to end, in ms
   */
  stop(grace?: number): Promise<void> {
    // Whoever asks again may have less time.
    if (this.#stopping && this.occupancy.single) void this.#program.stop(grace)
    this.#stopping ??= this.#stop(grace)
    return this.#stopping
  }

  async #stop(grace?: number) {
    this.#isEnding = true
    this.emit('change')
    const { single } = this.occupancy
    if (single) {
      this.#service?.drain()
      await this.#program.stop(grace)
    }
    const destroyed = this.#service?.destroy()
    // Its record goes first. It is not to be waited for long, as no other may start before.
    await (single
      ? Promise.race([destroyed, setTimeout(LEAVING_MS, undefined, { ref: false })])
      : destroyed)
    await this.#program.stop()
    await this.#uses?.close()
    await this.log.close()
    await writeEnd(this.#options.folder, this.release)
  }

  /** Withdraws it from the registry, and lets the program run. The host's next process finds it. */
  async leave() {
    this.#isEnding = true
    await this.#service?.destroy()
    await this.#program.leave()
    await this.#uses?.close()
    await this.log.close()
  }

  /** Asks consumers to go elsewhere if they can. */
  drain() {
    this.#service?.drain()
  }

  /** The last lines of its output, made printable. */
  async #lastLines(): Promise<string[]> {
    await this.log.flush()
    const lines = await this.log.lines({ count: LAST_LINES, since: this.occupancy.createdAt })
    return lines.map(({ text }) => printable(text))
  }

  /** Never rejects. */
  async #onchange(state: InstanceState) {
    if (this.#isEnding) return
    if (state === 'passing') await this.#register(this.#program.port)
    const isLooping = state === 'failing' && this.#program.isCrashLooping
    const lines = isLooping ? await this.#lastLines() : []
    this.#reason = isLooping ? [`crash loop: ${this.#program.reason}`, ...lines].join('\n') : null
    this.emit('change')
  }

  /**
   * Registers the instance once it passes. From then on its record tells its health. If its port has changed it is
   * registered anew.
   *
   * @returns what resolves with whether it could be registered
   */
  async #register(port: number | null): Promise<boolean> {
    const { app, slot, hash } = this.occupancy
    const { host, member, release, drainTimeout, checkInterval } = this.#options
    if (this.#service && this.#port === port) {
      this.#service.registration?.recheck()
      return true
    }
    await this.#service?.destroy()
    if (this.#isEnding) return false
    this.#port = port
    const keyPair = this.#keyPair as KeyPair
    const subject = {
      registry: toHex(member.registryPublicKey),
      key: toHex(keyPair.publicKey),
      role: app,
      version: release.version
    }
    const terms = {
      ...member,
      role: `${app}@${release.version}`,
      keyPair,
      app: signInstance(host, subject, { release: hash, slot, issuedAt: Date.now() }),
      drainTimeout,
      timeout: Infinity
    }
    const service =
      port === null
        ? Service({ ...terms, commands: {} })
        : Service({ ...terms, port, check: release.check, checkInterval })
    this.#service = service
    service.on('registered', () => this.emit('change'))
    const setup = service.setup().then(
      () => true,
      (error: SeaportError) => {
        if (error.code !== 'CLOSED') this.#tell(error.message)
        return false
      }
    )
    return this.occupancy.single ? setup : true
  }

  #tell(reason: string) {
    if (reason === this.#reason) return
    this.#reason = reason
    this.emit('change')
  }
}

/**
 * The name of its cgroups, of `a-z 0-9 -`. It contains the host, because two hosts on one machine must not end each
 * other's groups.
 */
function nameOf(host: string, app: string, slot: number): string {
  return `${host.slice(0, 16)}-${Buffer.from(app).toString('hex').slice(0, 70)}-${slot}`
}
