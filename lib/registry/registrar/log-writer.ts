import { readFile } from 'node:fs/promises'
import { forward } from '../../core/forward.js'
import { crypto, ReadyResource } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { Log } from '../log/log.js'
import { Maintenance } from '../log/maintenance.js'
import { Snapshots } from '../log/snapshots.js'
import type { Storage } from '../log/storage.js'
import { type Certificate, EMPTY_LOG_MS, LOG_MS, signCertificate } from '../trust/certificate.js'
import type { Mode } from '../trust/mode.js'
import { StatementKinds } from '../trust/statement-kinds.js'

export interface LogWriterOptions {
  /** Open, and closed by whoever opened it. */
  storage: Storage
  /** The registry's own key pair. */
  keyPair: KeyPair
  /** The kinds of statements that are known here. */
  kinds?: StatementKinds
  /** Names this run of the machine. If it differs from the last one, power may have been lost in between. */
  boot?: () => Promise<string>
}

/**
 * Chooses the log that a registrar writes. Normally that is the log of its last run, because what was acknowledged
 * survives `kill -9`. A new log is begun, with all that the old one says, if the machine went down while the log was
 * open, if somebody proves that the log went on elsewhere, or if somebody has another log under its key (`conflict`). In
 * these cases others may have blocks that are missing here, and to write different blocks in their place would break
 * every reader. The name of a new log is random: a counter in the folder would be put back together with the folder. Emits `snapshot` when there is a new one of the log, and `notice` (a SeaportError).
 */
export class LogWriter extends ReadyResource {
  readonly #storage: Storage
  readonly #keyPair: KeyPair
  readonly #kinds: StatementKinds
  readonly #boot: () => Promise<string>
  #registrar: KeyPair | null = null
  #log: Log | null = null
  #maintenance: Maintenance | null = null
  #startedAt = 0
  #renewedAt = 0

  constructor({ storage, keyPair, kinds = new StatementKinds(), boot = bootId }: LogWriterOptions) {
    super()
    this.#storage = storage
    this.#keyPair = keyPair
    this.#kinds = kinds
    this.#boot = boot
  }

  get log(): Log {
    return this.#log as Log
  }

  get maintenance(): Maintenance {
    return this.#maintenance as Maintenance
  }

  /** Hex. */
  get logKey(): string {
    return this.log.key
  }

  /** The registrar's swarm key pair. */
  get registrar(): KeyPair {
    return this.#registrar as KeyPair
  }

  /**
   * A certificate of the log, as of now.
   *
   * @param now what time it is in the registry, ms since 1970
   */
  certify(mode: Mode, now: number): Certificate {
    const renewedAt = Math.max(now, this.#renewedAt + 1)
    this.#renewedAt = renewedAt
    return signCertificate(this.#keyPair, {
      registrarKey: toHex(this.registrar.publicKey),
      logKey: this.logKey,
      mode,
      startedAt: this.#startedAt,
      renewedAt,
      endsAt: renewedAt + (this.log.size === 0 ? EMPTY_LOG_MS : LOG_MS)
    })
  }

  /**
   * Dates the log after another one of ours: readers wait for the one that began last.
   *
   * @returns whether it was dated before
   */
  startAfter({ startedAt }: Certificate): boolean {
    if (startedAt < this.#startedAt) return false
    this.#startedAt = startedAt + 1
    return true
  }

  override async _open() {
    try {
      await this.#openLast()
    } catch (error) {
      if (!this.#storage.failure?.isDamaged) throw error
      await this.#storage.reopen(true)
      await this.#openLast()
    }
  }

  override async _close() {
    await this.#maintenance?.close()
    await this.#log?.close()
    const { memory } = this.#storage
    if (memory.run) memory.run.ended = true
    // If that cannot be written, the next run takes this one for cut short.
    await this.#storage.save().catch((notice) => this.emit('notice', notice))
  }

  /** Begins a new log with all that the old one says. */
  async beginAnew() {
    const { run } = this.#storage.memory
    if (!run) return
    const name = randomName()
    run.log = name
    await this.#storage.save()
    const old = this.log
    await this.maintenance.close()
    await this.#openLog(name)
    await this.log.adopt(old)
    await old.close()
  }

  /**
   * Opens the storage again after it failed, and the log in it. If that is not there any more, or a part of it, a new
   * one is begun with all that the old one says.
   *
   * @throws STORAGE_FAILED, STORAGE_LOCKED; it has to be called again then
   */
  async reopen(isDamaged: boolean) {
    const old = this.log
    const { length } = old
    await this.maintenance.close()
    await old.close().catch(() => {})
    await this.#storage.reopen(isDamaged)
    const { memory } = this.#storage
    // A new store knows of no run.
    memory.run ??= { log: randomName(), boot: await this.#boot(), ended: false }
    await this.#openLog(nameOf(memory.run.log))
    if (this.log.length < length && this.log.length > 0) {
      memory.run.log = randomName()
      await this.#openLog(memory.run.log)
    }
    if (this.log.length === 0) await this.log.adopt(old)
    await this.#storage.save()
  }

  async #openLast() {
    const { memory, store } = this.#storage
    const boot = await this.#boot()
    const last = memory.run
    const isIntact = last === null || last.ended || last.boot === boot
    const log = last && isIntact ? nameOf(last.log) : randomName()
    memory.run = { log, boot, ended: false }
    await this.#storage.save()
    this.#registrar = await store.createKeyPair('registrar')
    await this.#openLog(log)
  }

  async #openLog(name: string) {
    const { store } = this.#storage
    const core = store.get({ name })
    const snapshots = new Snapshots(this.#storage)
    const log = new Log(core, { snapshots, kinds: this.#kinds })
    await log.ready()
    log.on('conflict', () => {
      if (log === this.#log) this.emit('conflict')
    })
    const compact = () => store.storage.compact()
    const maintenance = new Maintenance({ log, snapshots, keyPair: this.#keyPair, compact })
    forward(maintenance, this, ['snapshot', 'notice'])
    this.#date(log.key)
    this.#log = log
    this.#maintenance = maintenance
  }

  /** A log that goes on has its date; a new one comes after all that we certified, whatever our clock says. */
  #date(logKey: string) {
    const registrarKey = toHex(this.registrar.publicKey)
    const all = this.#storage.memory.certificates as Certificate[]
    const ours = all.filter((one) => one.registrarKey === registrarKey)
    const known = ours.find((one) => one.logKey === logKey)
    const dates = ours.map(({ startedAt }) => startedAt).filter(Number.isSafeInteger)
    this.#startedAt = known?.startedAt ?? Math.max(Date.now(), this.#startedAt + 1, ...dates) + 1
  }
}

function randomName(): string {
  return `log-${toHex(crypto.randomBytes(16))}`
}

/** As earlier builds named them, by a number. */
function nameOf(log: string | number): string {
  if (typeof log === 'string') return log
  return log === 0 ? 'log' : `log-${log}`
}

/** On systems that do not tell, all runs count as the same one: the other checks remain. */
async function bootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
}
