import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { Storage, StorageFailure } from '../log/storage.js'
import type { Replica } from '../replica/replica.js'
import type { LogWriter } from './log-writer.js'

/** How long others have, after a restart, to say that they hold more of our log. */
const INTRODUCTION_MS = 500
const RENEW_CERTIFICATE_MS = 60 * 60 * 1000
/** How often it is looked whether there is room again where there was none. */
const ROOM_CHECK_MS = 1000

interface PublishedLogEvents {
  /** The log can be written again, after its storage had failed. */
  reopened: []
  notice: [SeaportError]
}

/**
 * Publishes a registrar's own log: certifies it, tells the other participants of it, and has a new log begun if
 * others turn out to have more of it than we have. If its storage fails, it is opened again as soon as that is possible.
 */
export class PublishedLog extends EventEmitter<PublishedLogEvents> {
  readonly #writer: LogWriter
  readonly #replica: Replica
  /** Nothing is written to the log while one of its tasks runs. */
  readonly #queue = new SerialQueue()
  #isRewound = false
  #renewal: NodeJS.Timeout | null = null
  readonly #storage: Storage
  readonly #closing = new AbortController()
  #recovery: Promise<void> | null = null

  constructor(writer: LogWriter, replica: Replica, storage: Storage) {
    super()
    this.#writer = writer
    this.#replica = replica
    this.#storage = storage
    storage.on('failed', this.#onfailed)
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
    if (this.#storage.failure) this.#onfailed(this.#storage.failure)
  }

  async close() {
    if (this.#renewal) clearInterval(this.#renewal)
    this.#storage.off('failed', this.#onfailed)
    this.#closing.abort()
    await this.#recovery
    await this.#queue.idle()
  }

  readonly #onfailed = ({ reason, isDamaged }: StorageFailure) => {
    this.emit('notice', nothingWritten(reason))
    this.#recovery = this.#recover(isDamaged).finally(() => {
      this.#recovery = null
    })
  }

  /** Waits until the storage can be used again. What is written meanwhile is refused. Never rejects. */
  async #recover(isDamaged: boolean) {
    let isRoomNeeded = !isDamaged
    const { signal } = this.#closing
    while (!signal.aborted) {
      const isRoom = !isRoomNeeded || (await this.#storage.hasRoom())
      if (isRoom && !signal.aborted && (await this.#isReopened(isDamaged && !isRoomNeeded))) return
      isRoomNeeded = true
      await sleep(ROOM_CHECK_MS, undefined, { signal }).catch(() => {})
    }
  }

  async #isReopened(isDamaged: boolean): Promise<boolean> {
    try {
      await this.#queue.run(async () => {
        await this.#replica.move(() => this.#writer.reopen(isDamaged))
        await this.#certify()
      })
    } catch (cause) {
      this.emit('notice', cannotBeWritten(cause))
      return false
    }
    this.emit('notice', writtenAgain(this.#storage.dir))
    this.emit('reopened')
    return true
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

/** Of errors that say no more than that a batch failed, the cause is told. */
export function cannotBeWritten(error: unknown): SeaportError {
  const { message, cause } = error as Error
  const text = cause instanceof Error ? cause.message : message
  return SeaportError.STORAGE_FAILED(`the log cannot be written (${text})`, error)
}

function nothingWritten({ text, cause }: SeaportError): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `${text}. Until it can be used again nothing is registered or withdrawn; what is registered stays listed`,
    cause
  )
}

function writtenAgain(dir: string): SeaportError {
  return SeaportError.STORAGE_FAILED(`${dir} can be used again, and the log is written again`)
}

function rewound(): SeaportError {
  return SeaportError.STORAGE_FAILED(
    'others hold more of our log than we do, or another one, as after a restored backup; a new one was begun'
  )
}
