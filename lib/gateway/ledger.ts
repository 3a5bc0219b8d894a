import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { startTimer } from '../core/timer.js'
import type { RequestHead } from '../http/message-head.js'
import { AccessEntry } from './access-log.js'
import { refusalOf } from './refusal.js'
import type { Traffic } from './traffic.js'

interface LedgerEvents {
  /** A request is over. */
  access: [AccessEntry]
  /** A request was answered with 5xx, for this reason. */
  failed: [unknown, AccessEntry]
  /** No request is under way any more. */
  idle: []
}

/** Keeps account of requests, from their beginning to their end. */
export class Ledger extends EventEmitter<LedgerEvents> {
  readonly #traffic: Traffic

  constructor(traffic: Traffic) {
    super()
    this.#traffic = traffic
  }

  /** Opens the entry of a request. The caller has to `close` it. */
  open(request: RequestHead): AccessEntry {
    this.#traffic.active++
    return new AccessEntry(request)
  }

  /** Resolves when no request is under way, or when so many ms are over. */
  drained(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#traffic.active === 0) return resolve()
      const timer = startTimer(resolve, timeout)
      this.once('idle', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** Notes why a request got no answer from an instance. */
  fail(entry: AccessEntry, error: unknown) {
    entry.error = error instanceof SeaportError ? error.code : 'INTERNAL'
    if (refusalOf(error).status >= 500) this.emit('failed', error, entry)
  }

  /** A request is over. */
  close(entry: AccessEntry) {
    entry.ms = Math.round((performance.now() - entry.startedAt) * 10) / 10
    this.#traffic.active--
    if (entry.upstream !== '') {
      const { instance, role, status, firstByteMs, bytesIn, bytesOut } = entry
      const ms = firstByteMs || entry.ms
      this.#traffic.record({ instance, role, status, ms, bytesIn, bytesOut })
    }
    this.emit('access', entry)
    if (this.#traffic.active === 0) this.emit('idle')
  }
}
