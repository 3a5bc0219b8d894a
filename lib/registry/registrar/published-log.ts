import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { Replica } from '../replica/replica.js'
import type { LogWriter } from './log-writer.js'

/** How long others have, after a restart, to say that they hold more of our log. */
const INTRODUCTION_MS = 500
const RENEW_CERTIFICATE_MS = 60 * 60 * 1000

/**
 * A registrar's own log among those of the others: certified, told of, and begun anew if others turn out to
 * have more of it than we do. Emits `notice` (a SeaportError).
 */
export class PublishedLog extends EventEmitter<{ notice: [SeaportError] }> {
  readonly #writer: LogWriter
  readonly #replica: Replica
  /** Nothing is written to the log while one of its tasks runs. */
  readonly #queue = new SerialQueue()
  #isRewound = false
  #renewal: NodeJS.Timeout | null = null

  constructor(writer: LogWriter, replica: Replica) {
    super()
    this.#writer = writer
    this.#replica = replica
    replica.on('rewound', () => this.#onrewound())
    replica.on('introduced', (length: number) => writer.maintenance.welcome(length))
    writer.on('conflict', () => this.#onrewound())
    writer.on('snapshot', () => replica.announce(writer.logKey))
    writer.on('notice', (notice) => this.emit('notice', notice))
  }

  /** Resolves when it may be written to. */
  get writable(): Promise<void> {
    return this.#queue.idle()
  }

  /** Shows it to the others, and keeps its certificate fresh. */
  async open() {
    if (this.#writer.log.length > 0) this.#inTurn(() => this.#introduced())
    await this.#certify()
    this.#renewal = setInterval(() => this.#inTurn(() => this.#certify()), RENEW_CERTIFICATE_MS)
  }

  async close() {
    if (this.#renewal) clearInterval(this.#renewal)
    await this.#queue.idle()
  }

  async #certify() {
    const certificate = this.#writer.certify()
    this.#replica.setOwnLog(this.#writer.logKey, this.#writer.log)
    await this.#replica.addCertificate(certificate)
  }

  /** Before anything is written to a log of an earlier run, others have a moment to say if they have more. */
  #introduced(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, INTRODUCTION_MS)
      this.#replica.once('introduced', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #onrewound() {
    if (this.#isRewound) return
    this.#isRewound = true
    this.#inTurn(async () => {
      try {
        await this.#writer.beginAnew()
        await this.#certify()
        this.emit('notice', rewound())
      } finally {
        this.#isRewound = false
      }
    })
  }

  #inTurn(act: () => Promise<void>) {
    this.#queue.run(act).catch((cause) => this.emit('notice', cannotBeWritten(cause)))
  }
}

export function cannotBeWritten(cause: unknown): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `the log cannot be written (${(cause as Error)?.message})`,
    cause
  )
}

function rewound(): SeaportError {
  return SeaportError.STORAGE_FAILED(
    'others hold more of our log than we do, or another one, as after a restored backup; a new one was begun'
  )
}
