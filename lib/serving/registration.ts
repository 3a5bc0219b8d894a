import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { forward } from '../core/forward.js'
import type { KeyPair } from '../core/keys.js'
import { SerialQueue } from '../core/serial-queue.js'
import { Lease, type LeaseFields } from '../registry/replica/lease.js'
import type { Replica } from '../registry/replica/replica.js'
import type { ServiceRecord } from '../registry/trust/signed.js'
import type { Health, HealthCheck } from './health.js'
import type { Supervisor } from './supervisor.js'

export interface RegistrationOptions {
  replica: Replica
  /** The service's own. */
  keyPair: KeyPair
  fields: Omit<LeaseFields, 'status'>
  health: HealthCheck
  /** The supervisor that keeps the backend running; null if it is not ours to run. */
  supervisor: Supervisor | null
}

interface RegistrationEvents {
  /** A registrar confirmed it. */
  registered: [record: ServiceRecord]
  denied: [reason: SeaportError]
  /** No registrar holds it any more; it is registered again as soon as possible. */
  lost: []
  /** The health that the record states from now on, and what is wrong if it is failing. */
  health: [health: Health, reason: SeaportError | null]
}

/**
 * A service's entry in the registry. It is registered while its backend runs, and withdrawn while it does not. In
 * between, its record says whether the backend is well.
 */
export class Registration extends EventEmitter<RegistrationEvents> {
  readonly #replica: Replica
  readonly #keyPair: KeyPair
  readonly #health: HealthCheck
  readonly #supervisor: Supervisor | null
  #fields: LeaseFields
  #lease: Lease | null = null
  #isDraining = false
  /** Whether it is to be registered once all queued tasks are done. */
  #isWanted = false
  #isOver = false
  /** Runs registrations and withdrawals one after the other, however fast they are asked for. */
  readonly #queue = new SerialQueue()

  constructor({ replica, keyPair, fields, health, supervisor }: RegistrationOptions) {
    super()
    this.#replica = replica
    this.#keyPair = keyPair
    this.#fields = { ...fields, status: 'passing' }
    this.#health = health
    this.#supervisor = supervisor
    health.on('change', (health, reason) => this.#onhealth(health, reason))
  }

  /** The record as it was last signed. */
  get record(): ServiceRecord | null {
    return this.#lease?.record ?? null
  }

  /** How many registrars hold it. */
  get registrars(): number {
    return this.#lease?.registrars ?? 0
  }

  /** Keys of the registrars that hold it. */
  get holders(): string[] {
    return this.#lease?.holders ?? []
  }

  /**
   * Registers the service: at once, or as soon as its command listens.
   *
   * @throws COMMAND_FAILED, PORT_IN_USE
   */
  async start() {
    if (!this.#supervisor) return this.#appear()
    this.#supervisor.on('up', () => this.#appear())
    this.#supervisor.on('down', () => this.#disappear())
    await this.#supervisor.start()
  }

  /** Registers the service after a first check of its backend. */
  #appear(): Promise<void> {
    this.#isWanted = !this.#isOver
    return this.#inTurn(async () => {
      if (!this.#isWanted || this.#lease) return
      const { health, reason } = await this.#health.start()
      if (!this.#isWanted) return
      this.#onhealth(health, reason)
      const lease = new Lease({
        replica: this.#replica,
        keyPair: this.#keyPair,
        fields: this.#fields
      })
      forward(lease, this, ['registered', 'denied', 'lost'])
      this.#lease = lease
      await lease.ready()
    })
  }

  /** Withdraws the record. */
  #disappear(): Promise<void> {
    this.#isWanted = false
    this.#health.stop()
    return this.#inTurn(async () => {
      await this.#lease?.close()
      this.#lease = null
    })
  }

  /** Withdraws the record for good. */
  close(): Promise<void> {
    this.#isOver = true
    return this.#disappear()
  }

  /**
   * Resolves when a registrar first confirms it. Call it before `start`.
   *
   * @throws KEY_IN_USE
   */
  confirmed(): Promise<void> {
    const confirmed = new Promise<void>((resolve, reject) => {
      this.on('registered', () => resolve())
      this.on('denied', (error) => (error.code === 'KEY_IN_USE' ? reject(error) : null))
    })
    // It may reject before anybody awaits it, which would count as unhandled.
    confirmed.catch(() => {})
    return confirmed
  }

  /** Marks the record as draining, so that consumers prefer other instances. It cuts and refuses nobody. */
  drain() {
    this.#isDraining = true
    this.update({ status: 'draining' })
  }

  /** Has the backend checked now, as something was seen to change. */
  recheck() {
    this.#health.recheck()
  }

  /** Changes fields of the record, and signs it anew. */
  update(fields: Partial<LeaseFields>) {
    this.#fields = { ...this.#fields, ...fields }
    this.#lease?.update(fields)
  }

  #onhealth(health: Health, reason: SeaportError | null) {
    const isNews = health !== this.#fields.status || reason !== null
    if (!this.#isDraining && health !== this.#fields.status) {
      this.update({ status: health, reason: reason ? toldOf(reason) : '' })
    }
    if (isNews) this.emit('health', health, reason)
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    return this.#queue.run(act)
  }
}

/** The reason as the public record tells it: it must not say where the backend is. */
function toldOf({ code, message }: SeaportError): string {
  return code === 'CHECK_FAILED' ? message : code
}

/**
 * The error for a service that was not registered in time. It names what the service itself lacks, if that is the
 * cause.
 */
export function notRegistered(
  supervisor: Supervisor | null,
  fault: SeaportError | null | undefined
): SeaportError {
  if (supervisor && !supervisor.isUp) {
    return SeaportError.COMMAND_FAILED(
      `${supervisor.name} did not listen on port ${supervisor.port} in time; does it read PORT?`
    )
  }
  return SeaportError.REGISTRAR_NOT_FOUND(
    fault?.text ??
      "no registrar answered in time; is `hyperseaport registry` running with this registry's seed, on the same DHT?",
    fault
  )
}
