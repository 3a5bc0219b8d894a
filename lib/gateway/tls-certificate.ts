import { EventEmitter } from 'node:events'
import { type Stats, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { SeaportError } from '../core/errors.js'
import { readSmallFile } from '../core/small-file.js'

/** A source of certificates, such as files or an ACME client. */
export interface CertificateSource extends EventEmitter<CertificateEvents> {
  /** Gets ready to answer `contextFor`. */
  open(): Promise<void>
  close(): void
  /** The certificate for a name. */
  contextFor(serverName: string): SecureContext
  /** The one for clients that name none. */
  readonly fallback: Pem
}

/** A certificate and its private key, as PEM. */
export interface Pem {
  cert: Buffer
  key: Buffer
}

interface CertificateEvents {
  /** `contextFor` answers differently from now on. */
  change: []
  /** A change could not be taken over. The answers remain as they were. */
  notice: [SeaportError]
}

export interface FileCertificateOptions {
  certFile: string
  keyFile: string
  /** How often to look for a change, in ms. */
  interval?: number
}

const INTERVAL_MS = 1000

/**
 * A certificate in PEM files, which are read again when they change. They are polled by name, because that notices a
 * replaced file, a changed symbolic link and a changed mount alike.
 */
export class FileCertificate extends EventEmitter<CertificateEvents> implements CertificateSource {
  readonly #certFile: string
  readonly #keyFile: string
  readonly #interval: number
  #context: SecureContext | null = null
  #pem: Pem | null = null

  constructor({ certFile, keyFile, interval = INTERVAL_MS }: FileCertificateOptions) {
    super()
    this.#certFile = certFile
    this.#keyFile = keyFile
    this.#interval = interval
  }

  /** @throws BAD_CONFIG */
  async open() {
    await this.reload()
    for (const file of this.#files) {
      watchFile(file, { interval: this.#interval, persistent: false }, this.#onfile)
    }
  }

  close() {
    for (const file of this.#files) unwatchFile(file, this.#onfile)
  }

  contextFor(): SecureContext {
    if (!this.#context) throw SeaportError.CLOSED('the certificate was not read')
    return this.#context
  }

  get fallback(): Pem {
    if (!this.#pem) throw SeaportError.CLOSED('the certificate was not read')
    return this.#pem
  }

  /** @throws BAD_CONFIG if the files cannot be read, or do not belong together */
  async reload() {
    try {
      const pem = { cert: readSmallFile(this.#certFile), key: readSmallFile(this.#keyFile) }
      this.#context = createSecureContext(pem)
      this.#pem = pem
    } catch (cause) {
      const reason = (cause as Error).message
      throw SeaportError.BAD_CONFIG(`the certificate cannot be used (${reason})`, cause)
    }
    this.emit('change')
  }

  get #files(): [string, string] {
    return [this.#certFile, this.#keyFile]
  }

  /**
   * Called when a file has changed. The two files change one after the other, and do not match in between; then the
   * next poll takes them.
   */
  readonly #onfile = (now: Stats, before: Stats) => {
    if (now.mtimeMs === before.mtimeMs && now.ino === before.ino) return
    this.reload().catch((error: SeaportError) => this.emit('notice', error))
  }
}
