import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { Replica } from '../replica/replica.js'
import type { LogWriter } from './log-writer.js'

/** How long others have, after a restart, to say that they hold more of our log. */
const INTRODUCTION_MS = 500
const RENEW_CERTIFICATE_MS = 60 * 60 * 1000

/**
 * Publishes a registrar's own log: certifies it, tells the other participants of it, and has a new log begun if
 * others turn out to have more of it than we have. Emits `notice` (a SeaportError).
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
    forward(writer, this, ['notice'])
  }

  /** Resolves when the log may be written to. */
  get writable(): Promise<void> {
    return this.#queue.idle()
  }

  /** Tells the others of the log, and renews its certificate from time to time. */
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
    this.#replica.setOwnLog(this.#writer.log)
    await this.#replica.addCertificate(certificate)
  }

  /**
   * Waits a moment for others to say that they have more of the log, before anything is written to a log of an
   * earlier run.
   */
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
