import { readFile } from 'node:fs/promises'
import { forward } from '../../core/forward.js'
import { ReadyResource } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { Log } from '../log/log.js'
import { Maintenance } from '../log/maintenance.js'
import { Snapshots } from '../log/snapshots.js'
import type { Storage } from '../log/storage.js'
import { type Certificate, signCertificate } from '../trust/certificate.js'
import { StatementKinds } from '../trust/statement-kinds.js'

export interface LogWriterOptions {
  /** Open, and closed by whoever opened it. */
  storage: Storage
  /** The registry's own key pair. */
  keyPair: KeyPair
  /** What the certificates say of the registry. */
  isPrivate: boolean
  /** The kinds of statements that are known here. */
  kinds?: StatementKinds
  /** Names this run of the machine. If it differs from the last one, power may have been lost in between. */
  boot?: () => Promise<string>
}

/**
 * Chooses the log that a registrar writes. Normally that is the log of its last run, because what was acknowledged
 * survives `kill -9`. A new log is begun, with all that the old one says, if the machine went down while the log was
 * open, if somebody has more of the log than we have, or if somebody has another log under its key (`conflict`). In
 * these cases others may have blocks that are missing here, and to write different blocks in their place would break
 * every reader. Emits `snapshot` when there is a new one of the log, and `notice` (a SeaportError).
 */
export class LogWriter extends ReadyResource {
  readonly #storage: Storage
  readonly #keyPair: KeyPair
  readonly #isPrivate: boolean
  readonly #kinds: StatementKinds
  readonly #boot: () => Promise<string>
  #registrar: KeyPair | null = null
  #log: Log | null = null
  #maintenance: Maintenance | null = null
  #startedAt = 0

  constructor({
    storage,
    keyPair,
    isPrivate,
    kinds = new StatementKinds(),
    boot = bootId
  }: LogWriterOptions) {
    super()
    this.#storage = storage
    this.#keyPair = keyPair
    this.#isPrivate = isPrivate
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

  /** A certificate of the log, as of now. */
  certify(): Certificate {
    return signCertificate(this.#keyPair, {
      registrarKey: toHex(this.registrar.publicKey),
      logKey: this.logKey,
      private: this.#isPrivate,
      startedAt: this.#startedAt,
      renewedAt: Date.now()
    })
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
    run.log++
    await this.#storage.save()
    const old = this.log
    await this.maintenance.close()
    await this.#openLog(run.log)
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
    memory.run ??= { log: 0, boot: await this.#boot(), ended: false }
    await this.#openLog(memory.run.log)
    if (this.log.length < length && this.log.length > 0) {
      memory.run.log++
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
    memory.run = { log: (last?.log ?? 0) + (isIntact ? 0 : 1), boot, ended: false }
    await this.#storage.save()
    this.#registrar = await store.createKeyPair('registrar')
    await this.#openLog(memory.run.log)
  }

  async #openLog(number: number) {
    const { store, memory } = this.#storage
    const core = store.get({ name: number === 0 ? 'log' : `log-${number}` })
    const snapshots = new Snapshots(this.#storage)
    const log = new Log(core, { snapshots, kinds: this.#kinds })
    await log.ready()
    log.on('conflict', () => {
      if (log === this.#log) this.emit('conflict')
    })
    const compact = () => store.storage.compact()
    const maintenance = new Maintenance({ log, snapshots, keyPair: this.#keyPair, compact })
    forward(maintenance, this, ['snapshot', 'notice'])
    const known = memory.certificates.find((other) => (other as Certificate).logKey === log.key)
    this.#startedAt = (known as Certificate | undefined)?.startedAt ?? Date.now()
    this.#log = log
    this.#maintenance = maintenance
  }
}

/** On systems that do not tell, all runs count as the same one: the other checks remain. */
async function bootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
}
