import { SeaportError } from '../../core/errors.js'
import { ReadyResource } from '../../core/holepunch.js'
import type { KeyPair } from '../../core/keys.js'
import type { Peer } from '../swarm/peer.js'
import type { Answer } from '../swarm/protocol.js'
import { type RecordFields, type ServiceRecord, signRecord } from '../trust/record.js'
import type { Replica } from './replica.js'

/** What the owner says; the rest follows from where and when it says it. */
export type LeaseFields = Omit<RecordFields, 'holder' | 'seq'>

export interface LeaseOptions {
  /** How it reaches the registrars. */
  replica: Replica
  /** The service's own key pair. */
  keyPair: KeyPair
  fields: LeaseFields
  now?: () => number
  /** When a denied lease is asked for again, in ms. */
  retry?: number
}

/** What a registrar confirmed, and to which request. */
interface Confirmation {
  record: ServiceRecord
  id: number
}

/** A denied lease is asked for again after this; the reason may have gone away. */
const RETRY_MS = 2000
/** Rounds of "there is a newer one" before we believe that somebody else signs with our key. */
const MAX_STALE_ANSWERS = 3
/** How long registrars may take to confirm a withdrawal before we leave without. */
const WITHDRAW_TIMEOUT_MS = 2000

/**
 * One service's place in the registry: a lease with every registrar in reach, taken again whenever one
 * comes back. Emits `registered` (the ServiceRecord, and the Peer that confirmed it), `denied` (a
 * SeaportError) and `lost` when no registrar holds it any more.
 */
export class Lease extends ReadyResource {
  readonly #replica: Replica
  readonly #keyPair: KeyPair
  readonly #now: () => number
  readonly #retry: number
  readonly #confirmed = new Map<Peer, Confirmation>()
  /** Who was asked for it and has not refused: they hold it, or will do so once they have read the request. */
  readonly #asked = new Set<Peer>()
  readonly #retries = new Map<Peer, NodeJS.Timeout>()
  readonly #peers = new Set<Peer>()
  readonly #onregistrar = (peer: Peer) => {
    this.#peers.add(peer)
    peer.on('afterword', (answer) => this.#onafterword(peer, answer))
    peer.once('close', () => this.#onclose(peer))
    void this.#hold(peer)
  }
  #fields: LeaseFields
  #record: ServiceRecord | null = null

  constructor({ replica, keyPair, fields, now = Date.now, retry = RETRY_MS }: LeaseOptions) {
    super()
    this.#replica = replica
    this.#keyPair = keyPair
    this.#fields = fields
    this.#now = now
    this.#retry = retry
  }

  /** The record as it was last signed. */
  get record(): ServiceRecord | null {
    return this.#record
  }

  /** How many registrars have confirmed the lease. */
  get registrars(): number {
    return this.#confirmed.size
  }

  /** Keys of the registrars that hold the lease. */
  get holders(): string[] {
    return [...this.#confirmed.keys()].map(({ key }) => key)
  }

  override async _open() {
    this.#replica.on('registrar', this.#onregistrar)
    for (const peer of this.#replica.registrars) this.#onregistrar(peer)
  }

  /** Withdraws the record wherever it is known. */
  override async _close() {
    this.#replica.off('registrar', this.#onregistrar)
    for (const timer of this.#retries.values()) clearTimeout(timer)
    if (this.#asked.size === 0) return
    const withdrawal = this.#sign({ ...this.#fields, status: 'withdrawn' })
    const timeout = new Promise<void>((resolve) => {
      setTimeout(resolve, WITHDRAW_TIMEOUT_MS).unref()
    })
    await Promise.race([
      Promise.allSettled([...this.#asked].map((peer) => peer.lease(withdrawal))),
      timeout
    ])
  }

  /** Signs other fields and tells all registrars. */
  update(fields: Partial<LeaseFields>) {
    this.#fields = { ...this.#fields, ...fields }
    if (!this.#record) return
    this.#sign(this.#fields)
    for (const peer of this.#peers) void this.#hold(peer)
  }

  /** Never rejects: what goes wrong is told by events, and tried again. */
  async #hold(peer: Peer) {
    clearTimeout(this.#retries.get(peer))
    this.#retries.delete(peer)
    try {
      const confirmation = await this.#register(peer)
      if (this.closing || peer.closed) return
      const { record } = confirmation
      const isNews = this.#confirmed.get(peer)?.record !== record
      this.#confirmed.set(peer, confirmation)
      if (isNews) this.emit('registered', record, peer)
    } catch (error) {
      if (!this.closing && !peer.closed) this.#ondenied(peer, error as SeaportError)
    }
  }

  #ondenied(peer: Peer, reason: SeaportError) {
    clearTimeout(this.#retries.get(peer))
    this.#retries.set(
      peer,
      setTimeout(() => this.#hold(peer), this.#retry)
    )
    if (reason.code !== 'REGISTRAR_NOT_FOUND') this.#asked.delete(peer)
    this.emit('denied', reason)
    this.#lose(peer)
  }

  /** A registrar takes back a lease that it had confirmed. */
  #onafterword(peer: Peer, { id, code, text }: Answer) {
    if (this.closing || this.#confirmed.get(peer)?.id !== id) return
    this.#ondenied(peer, SeaportError.remote(code, text))
  }

  /**
   * Asks a registrar for the lease. If it knows a newer record, it tells that one's sequence number, and we sign
   * above it.
   */
  async #register(peer: Peer): Promise<Confirmation> {
    for (let stale = 0, above = 0; ; stale++) {
      if (this.closing) throw SeaportError.CLOSED('the lease is being given up')
      const record = this.#recordAbove(above)
      this.#asked.add(peer)
      const answer = await peer.lease(record)
      if (answer.code === '') return { record, id: answer.id }
      if (answer.code !== 'STALE_RECORD' || stale === MAX_STALE_ANSWERS)
        throw SeaportError.remote(answer.code, answer.text)
      above = answer.seq
    }
  }

  /**
   * Our record if it has a higher number than this; else one that is signed anew, and sent to the other
   * registrars too.
   */
  #recordAbove(seq: number): ServiceRecord {
    if (this.#record && this.#record.seq > seq) return this.#record
    const hadRecord = this.#record !== null
    const record = this.#sign(this.#fields, seq)
    if (hadRecord) for (const other of this.#confirmed.keys()) void this.#hold(other)
    return record
  }

  #sign(fields: LeaseFields, above = 0): ServiceRecord {
    const seq = Math.max(this.#now(), above + 1, (this.#record?.seq ?? 0) + 1)
    const { registry, key: holder } = this.#replica
    this.#record = signRecord(registry, this.#keyPair, { ...fields, holder, seq })
    return this.#record
  }

  #onclose(peer: Peer) {
    this.#peers.delete(peer)
    this.#asked.delete(peer)
    clearTimeout(this.#retries.get(peer))
    this.#retries.delete(peer)
    this.#lose(peer)
  }

  #lose(peer: Peer) {
    if (this.#confirmed.delete(peer) && this.#confirmed.size === 0 && !this.closing)
      this.emit('lost')
  }
}
