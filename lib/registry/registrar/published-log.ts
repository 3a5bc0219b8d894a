import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { Log } from '../log/log.js'
import type { Storage, StorageFailure } from '../log/storage.js'
import type { Replica } from '../replica/replica.js'
import type { Certificate } from '../trust/certificate.js'
import type { Mode } from '../trust/mode.js'
import type { LogWriter } from './log-writer.js'
import type { RegistryMode } from './registry-mode.js'

export interface PublishedLogOptions {
  writer: LogWriter
  replica: Replica
  /** Where the log is; opened again when it failed. */
  storage: Storage
  mode: RegistryMode
  /** How long others have to say whether the registry is private, if nothing is known of it, in ms. */
  modeWait: number
  /** Resolves, and never rejects, when the first node of the DHT answered. */
  reached: () => Promise<void>
}

/** How long others have, after a restart, to show what they hold of our log. */
const INTRODUCTION_MS = 500
/** How often it is seen to whether the certificate has to be renewed: that of an empty log ends after ten minutes. */
const CHECK_CERTIFICATE_MS = 3 * 60 * 1000
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
 * others prove that it went on elsewhere. If its storage fails, it is opened again as soon as that is possible.
 */
export class PublishedLog extends EventEmitter<PublishedLogEvents> {
  readonly #options: PublishedLogOptions
  readonly #writer: LogWriter
  readonly #replica: Replica
  /** Nothing is written to the log while one of its tasks runs. */
  readonly #queue = new SerialQueue()
  #certificate: Certificate | null = null
  /** When it was last certified, by `performance.now()`. */
  #certifiedAt = 0
  /** The empty log whose first statement is waited for: its certificate holds for longer from then on. */
  #empty: Log | null = null
  #isRewound = false
  #isClosed = false
  #renewal: NodeJS.Timeout | null = null
  readonly #storage: Storage
  readonly #closing = new AbortController()
  #recovery: Promise<void> | null = null
  #stopWaiting: () => void = () => {}
  #stopHearing: () => void = () => {}

  constructor(options: PublishedLogOptions) {
    super()
    this.#options = options
    const { writer, replica, storage } = options
    this.#writer = writer
    this.#replica = replica
    this.#storage = storage
    storage.on('failed', this.#onfailed)
    replica.on('rewound', () => this.#onrewound())
    replica.on('introduced', (length: number) => writer.maintenance.welcome(length))
    replica.on('former', (certificate: Certificate) => this.#onformer(certificate))
    replica.on('mode', (mode: Mode) => this.#onmode(mode))
    writer.on('conflict', () => this.#onrewound())
    writer.on('snapshot', () => replica.announce(writer.logKey))
    forward(writer, this, ['notice'])
  }

  /** Resolves when the log may be written to. */
  get writable(): Promise<void> {
    return this.#queue.idle()
  }

  /** Tells the others of the log once it is known whether the registry is private, and renews its certificate. */
  async open() {
    if (this.#writer.log.length > 0) this.#inTurn(() => this.#introduced())
    if (this.#options.modeWait === 0) this.#options.mode.settle()
    if (this.#options.mode.current) await this.#certify()
    else {
      this.#inTurn(async () => {
        await this.#modeIsKnown()
        await this.#certify()
      })
    }
    this.#renewal = setInterval(() => this.#renewIfDue(), CHECK_CERTIFICATE_MS)
    // Another registrar may be ahead, by a wrong clock: for all who hear of its dates ours has ended.
    this.#stopHearing = this.#replica.statements.dates.watch(() => this.#renewIfDue())
    if (this.#storage.failure) this.#onfailed(this.#storage.failure)
  }

  async close() {
    if (this.#renewal) clearInterval(this.#renewal)
    this.#stopHearing()
    this.#isClosed = true
    this.#stopWaiting()
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

  #renewIfDue() {
    if (!this.#isDue) return
    this.#inTurn(async () => {
      if (this.#isDue) await this.#certify()
    })
  }

  get #isDue(): boolean {
    if (!this.#certificate) return false
    const { endsAt } = this.#certificate
    const isEnding = endsAt < this.#replica.statements.dates.now + 2 * CHECK_CERTIFICATE_MS
    return isEnding || performance.now() - this.#certifiedAt >= RENEW_CERTIFICATE_MS
  }

  async #certify() {
    const mode = this.#options.mode.current
    if (!mode || this.#isClosed) return
    const { log } = this.#writer
    this.#replica.takeMode(mode)
    this.#replica.setOwnLog(log)
    const certificate = this.#writer.certify(mode, this.#replica.statements.dates.now)
    this.#certificate = certificate
    this.#certifiedAt = performance.now()
    if (log.size === 0) this.#expectStatement(log)
    await this.#replica.addCertificate(certificate)
  }

  #expectStatement(log: Log) {
    if (this.#empty === log) return
    this.#empty = log
    log.once('written', () => this.#inTurn(() => this.#certify()))
  }

  /** Waits for others to say whether the registry is private; if nobody is found who knows, it is open. */
  async #modeIsKnown() {
    const { mode, modeWait, reached } = this.#options
    if (!mode.current) {
      await new Promise<void>((resolve) => {
        let timer: NodeJS.Timeout | undefined
        let isOver = false
        this.#stopWaiting = () => {
          isOver = true
          clearTimeout(timer)
          resolve()
        }
        // Nobody can be found before that.
        void reached().then(() => {
          if (!isOver) timer = setTimeout(resolve, modeWait)
        })
      })
    }
    if (!this.#isClosed) mode.settle()
  }

  #onmode(heard: Mode) {
    if (!this.#options.mode.hear(heard)) return
    this.#stopWaiting()
    if (this.#certificate) this.#inTurn(() => this.#certify())
  }

  #onformer(former: Certificate) {
    if (this.#writer.startAfter(former) && this.#certificate) this.#inTurn(() => this.#certify())
  }

  /**
   * Waits a moment for others to show what they hold of the log, before anything is written to a log of an earlier run.
   * Who shows nothing that the log's key signed does not shorten the wait.
   */
  #introduced(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        this.#replica.off('introduced', onintroduced)
        resolve()
      }
      const onintroduced = (_length: number, isProven: boolean) => {
        if (isProven) end()
      }
      const timer = setTimeout(end, INTRODUCTION_MS)
      this.#replica.on('introduced', onintroduced)
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
