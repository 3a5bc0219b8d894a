import { EventEmitter } from 'node:events'
import { chmod, mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { SeaportError } from '../core/errors.js'
import { KeyPair, randomSeed, toHex } from '../core/keys.js'
import { printable } from '../core/printable.js'
import { replaceFile } from '../core/replace-file.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import { signInstance } from '../registry/trust/signed.js'
import { Service } from '../service.js'
import { environmentOf } from './app-environment.js'
import { AppInstance, type InstanceState } from './app-instance.js'
import { AppLog, removeLog } from './app-log.js'
import { AppUses } from './app-uses.js'
import { type AppUsers, giveData, UNLISTED } from './driver/app-users.js'
import type { Driver } from './driver/driver.js'
import type { Release } from './release.js'

/** Which instance it is. This is stored on the disk, so that the host finds it again. */
export interface Occupancy {
  app: string
  slot: number
  /** The hash of its release. */
  hash: string
  /** Ms since 1970. */
  createdAt: number
}

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

const LOG_FILE = 'log'
const OCCUPANCY_FILE = 'occupancy.json'
const STATE_FILE = 'state.json'
const KEY_FILE = 'seed'
const USES_FILE = 'uses.json'
const DATA_FOLDER = 'data'
const PRIVATE_FOLDER = 0o700
const LAST_LINES = 5

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

  constructor(options: HostedInstanceOptions) {
    super()
    const { app, slot, hash, createdAt, release, bundle, folder, driver, hostName } = options
    const { memory, cpu } = options
    this.#options = options
    this.occupancy = { app, slot, hash, createdAt }
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
    this.#keyPair = await keepKey(join(folder, KEY_FILE))
    await replaceFile(join(folder, OCCUPANCY_FILE), JSON.stringify(this.occupancy))
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
    this.#program.start({ env: uses.env, adopts: !uses.hasMoved, uid })
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

  /** Withdraws it from the registry, lets its streams end, and ends the program. */
  async stop() {
    this.#isEnding = true
    this.emit('change')
    await this.#service?.destroy()
    await this.#program.stop()
    await this.#uses?.close()
    await this.log.close()
    const { keep } = this.release.logs
    const left: Leftover = { endedAt: Date.now(), keep }
    await replaceFile(join(this.#options.folder, OCCUPANCY_FILE), JSON.stringify(left))
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
    if (state === 'passing') await this.#register()
    const isLooping = state === 'failing' && this.#program.isCrashLooping
    const lines = isLooping ? await this.#lastLines() : []
    this.#reason = isLooping ? [`crash loop: ${this.#program.reason}`, ...lines].join('\n') : null
    this.emit('change')
  }

  /**
   * Registers the instance once it passes. From then on its record tells its health. If its port has changed it is
   * registered anew.
   */
  async #register() {
    const { app, slot, hash } = this.occupancy
    const { host, member, release, drainTimeout, checkInterval } = this.#options
    const { port } = this.#program
    if (this.#service && this.#port === port) return
    await this.#service?.destroy()
    if (this.#isEnding) return
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
    service.setup().catch((error: SeaportError) => {
      if (error.code !== 'CLOSED') this.#tell(error.message)
    })
  }

  #tell(reason: string) {
    if (reason === this.#reason) return
    this.#reason = reason
    this.emit('change')
  }
}

/** What is stored in the place of an instance that has ended: when that was, and how long its log is kept, in ms. */
interface Leftover {
  endedAt: number
  keep: number
}

/** Deletes the log in the folder of an instance that has ended, once the time for which it is kept is over. */
export async function expireLog(folder: string, now: number) {
  const text = await readFile(join(folder, OCCUPANCY_FILE), 'utf8').catch(() => 'null')
  const { endedAt, keep } = Object(JSON.parse(text)) as Partial<Leftover>
  if (endedAt === undefined || keep === undefined || now < endedAt + keep) return
  await removeLog(join(folder, LOG_FILE), folder)
}

/** The instance that ran in a folder when the host ended; null if none did. */
export async function occupancyOf(folder: string): Promise<Occupancy | null> {
  try {
    const { app, slot, hash, createdAt } = JSON.parse(
      await readFile(join(folder, OCCUPANCY_FILE), 'utf8')
    )
    return typeof app === 'string' && Number.isInteger(slot) ? { app, slot, hash, createdAt } : null
  } catch {
    return null
  }
}

/** The instance's key. It is made once, and stays the same as long as the host keeps the folder. */
async function keepKey(file: string): Promise<KeyPair> {
  const known = await readFile(file, 'utf8').catch(() => null)
  if (known !== null) return KeyPair(known)
  const seed = toHex(randomSeed())
  await replaceFile(file, seed)
  return KeyPair(seed)
}

/**
 * The name of its cgroups, of `a-z 0-9 -`. It contains the host, because two hosts on one machine must not end each
 * other's groups.
 */
function nameOf(host: string, app: string, slot: number): string {
  return `${host.slice(0, 16)}-${Buffer.from(app).toString('hex').slice(0, 70)}-${slot}`
}
