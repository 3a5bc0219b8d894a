import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import type { LinkStream } from '../../link/stream.js'
import { decodeBody, encodeBody } from '../body.js'
import { Caller } from '../caller.js'
import { isName } from '../names.js'
import { StateCopy } from './copy.js'
import type { Heritage } from './state.js'
import {
  entryToJson,
  type Head,
  MAX_SNAPSHOT_BYTES,
  parseClaim,
  parseEntry,
  type Scope,
  type SignedEntry,
  type Succession,
  signClaim,
  verifyClaim
} from './statements.js'

export interface TakeOverOptions {
  scope: Scope
  /** The newcomer's exact version. */
  version: string
  /** The newcomer's service key pair. */
  keyPair: KeyPair
  /** The key pair of its process. An owner lets the services of its own process key take over. */
  processKeyPair: KeyPair
  /** Opens a stream to an instance, with the newcomer's key. */
  open: (key: Buffer, signal: AbortSignal) => Promise<LinkStream>
  /** How long the running instance may take for each step, in ms. */
  timeout?: number | undefined
}

const TIMEOUT_MS = 2500
const FINISH_MS = 1000
/** The timeout for a second link. The first one was made, so the way is known and the timeout short. */
const AGAIN_MS = 1000
/** How often a link is made: one that is lost is made once more. */
const ATTEMPTS = 2
/** How many names are listed, of those that were not taken over. */
export const MAX_LOST_NAMES = 16
/** Codes that mean that the running instance is dead or silent. It is not asked again then. */
const SILENT = new Set<string>(['OPEN_TIMEOUT', 'DEADLINE'])
const LOST = new Set<string>(['LINK_LOST', 'OPEN_TIMEOUT', 'DEADLINE', 'STREAM_RESET', 'CANCELLED'])

/** The newcomer's side of a hot swap. */
export class TakeOver {
  readonly #options: TakeOverOptions
  readonly #from: string
  #caller: Caller | null = null
  /** The copy of its state, as far as it is known. */
  #copy: StateCopy | null = null

  /** @param from the key of the running instance, in hex */
  constructor(from: string, options: TakeOverOptions) {
    this.#from = from
    this.#options = options
  }

  /** The state as far as it was received before the instance was lost. */
  get partial(): Heritage | null {
    const { head } = this.#copy ?? {}
    if (!this.#copy || !head) return null
    return { head, entries: [...this.#copy.entries()], claim: claimBy(this.#options, head.owner) }
  }

  /**
   * Asks the running instance for its state, and to stop writing it.
   *
   * @param death aborted when the instance is known to be dead
   * @returns its state, which nobody but us writes now; null if it has none; `lost` if the instance is dead
   * @throws NOT_ALLOWED, BUSY, REFUSED
   */
  async begin(death?: AbortSignal): Promise<Heritage | null | 'lost'> {
    const ondeath = () => this.#drop()
    death?.addEventListener('abort', ondeath)
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#begin(attempt, death)
        } catch (error) {
          this.#drop()
          if (death?.aborted) return 'lost'
          const { code } = error as SeaportError
          if (!LOST.has(code)) throw error
          if (attempt >= ATTEMPTS || SILENT.has(code)) return 'lost'
        }
      }
    } finally {
      death?.removeEventListener('abort', ondeath)
    }
  }

  /**
   * Tells it that we are registered, and it leaves. This never waits long: if the message is lost, the instance sees
   * our record, or is dead.
   *
   * @throws CONFLICT if we came so late that it has taken the state back
   */
  async finish() {
    const over = new AbortController()
    await Promise.race([this.#tellTaken(), sleep(FINISH_MS, undefined, over)]).finally(() => {
      over.abort()
      this.#drop()
    })
  }

  /** Whether it cannot be reached. An instance that refuses, because it starts or ends, was reached. */
  async isSilent(): Promise<boolean> {
    try {
      await this.#connect()
      return false
    } catch (error) {
      return LOST.has((error as SeaportError).code)
    } finally {
      this.#drop()
    }
  }

  /**
   * Tells it that we go on with its state, as it was last seen.
   *
   * @returns whether it has answered
   * @throws CONFLICT with the names that it wrote and we do not have
   */
  async tellSuccession({ head, succession }: { head: Head; succession: Succession }) {
    try {
      await this.#connect()
      const { version } = this.#options
      const { lost } = await this.#ask('yield', { version, head, succession })
      if (Array.isArray(lost) && lost.length > 0) throw notTakenOver(this.#from, lost)
      return true
    } catch (error) {
      if (LOST.has((error as SeaportError).code)) return false
      throw error
    } finally {
      this.#drop()
    }
  }

  async #tellTaken() {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      try {
        if (!this.#caller?.isOpen) await this.#connect()
        await this.#ask('taken', {})
        return
      } catch (error) {
        this.#drop()
        if ((error as SeaportError).code === 'CONFLICT') throw error
      }
    }
  }

  async #begin(attempt: number, death?: AbortSignal): Promise<Heritage | null> {
    const { scope, version, timeout = TIMEOUT_MS } = this.#options
    await this.#connect(attempt === 1 ? timeout : Math.min(timeout, AGAIN_MS), death)
    if (death?.aborted) throw SeaportError.LINK_LOST(`${this.#from} has died`)
    const claim = claimBy(this.#options, this.#from)
    const first = await this.#ask('takeover', { claim, version })
    const copy = new StateCopy(scope, this.#from)
    if ((first as { head?: unknown }).head) {
      await copy.takeSnapshot(first)
      this.#copy = copy
    }
    const rest = await this.#ask('ready', { rev: copy.head?.rev ?? 0 })
    return this.#heritage(copy, rest)
  }

  /** @throws BAD_MESSAGE, BAD_SIGNATURE */
  async #heritage(copy: StateCopy, rest: { [field: string]: unknown }): Promise<Heritage | null> {
    const { scope, keyPair } = this.#options
    const over = parseClaim(rest.over)
    verifyClaim(scope, over)
    const isOurs = over.key === toHex(keyPair.publicKey) && over.signer === this.#from
    if (!isOurs || over.from !== this.#from) {
      throw SeaportError.BAD_MESSAGE('a state that was handed over to somebody else')
    }
    if (!rest.head) return null
    const { head, entries = [], removed = [] } = rest
    if (!Array.isArray(entries) || !Array.isArray(removed)) {
      throw SeaportError.BAD_MESSAGE('a hand-over without its changes')
    }
    const all = new Map<string, SignedEntry>()
    for (const entry of copy.entries()) all.set(entry.name, entry)
    for (const name of removed) all.delete(String(name))
    for (const value of entries) {
      const entry = parseEntry(value)
      all.set(entry.name, entry)
    }
    const whole = new StateCopy(scope, this.#from)
    const texts = [...all.values()].map((entry) => JSON.parse(entryToJson(entry)))
    await whole.takeSnapshot({ head, entries: texts, succession: null })
    this.#copy = whole
    return whole.head && { head: whole.head, entries: [...whole.entries()], claim: over }
  }

  async #connect(timeout = this.#options.timeout ?? TIMEOUT_MS, death?: AbortSignal) {
    const late = AbortSignal.timeout(timeout)
    const signal = death ? AbortSignal.any([late, death]) : late
    let stream: LinkStream
    try {
      stream = await this.#options.open(Buffer.from(this.#from, 'hex'), signal)
    } catch (error) {
      if (!signal.aborted) throw error
      throw SeaportError.OPEN_TIMEOUT(`${this.#from} did not answer within ${timeout} ms`)
    }
    this.#caller = new Caller(stream, { maxFrame: MAX_SNAPSHOT_BYTES, onleaving: () => {} })
  }

  #ask(name: string, data: unknown): Promise<{ [field: string]: unknown }> {
    const { timeout = TIMEOUT_MS } = this.#options
    const caller = this.#caller
    if (!caller) return Promise.reject(SeaportError.LINK_LOST(`${this.#from} has died`))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(SeaportError.DEADLINE(`${name} was not answered within ${timeout} ms`)),
        timeout
      )
      const outgoing = {
        name,
        body: encodeBody(data),
        meta: {},
        deadline: performance.now() + timeout
      }
      caller.call(outgoing, {
        onanswer: (body) => {
          clearTimeout(timer)
          try {
            resolve((decodeBody(body) ?? {}) as { [field: string]: unknown })
          } catch (error) {
            reject(error)
          }
        },
        onfailure: (error) => {
          clearTimeout(timer)
          reject(error)
        }
      })
    })
  }

  #drop() {
    this.#caller?.destroy(SeaportError.CLOSED('the hand-over is over'))
    this.#caller = null
  }
}

function notTakenOver(owner: string, lost: readonly unknown[]): SeaportError {
  const names = lost.filter(isName).slice(0, MAX_LOST_NAMES)
  return SeaportError.CONFLICT(
    `${owner} came back after its state was taken over; what it wrote later is not in it: ${names.join(', ')}`
  )
}

/** A claim of the newcomer, signed by its process. It counts if the owner names that process key. */
export function claimBy(
  { scope, keyPair, processKeyPair }: Pick<TakeOverOptions, 'scope' | 'keyPair' | 'processKeyPair'>,
  from: string
) {
  return signClaim(scope, { key: toHex(keyPair.publicKey), from }, processKeyPair)
}
