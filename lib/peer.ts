import { EventEmitter } from 'node:events'
import { type Callable, callable } from './core/callable.js'
import type { SeaportError } from './core/errors.js'
import { forward } from './core/forward.js'
import { type KeyPair, parseKey } from './core/keys.js'
import type { SetupOptions } from './core/lifecycle.js'
import type { Measure } from './core/metrics.js'
import type { DirectReach } from './link/direct/address.js'
import type { PathView } from './link/pool.js'
import type { MailMessage } from './messaging/mail/inbox.js'
import type { Mail, MailPeer } from './messaging/mail/mail.js'
import type { MailOptions } from './messaging/mail/mail-options.js'
import type { LetterReceipt, SendMailOptions, SentLetter } from './messaging/mail/sent-letter.js'
import { checkOptions } from './option-shapes.js'
import { keepProcessKey } from './registry/log/own-keys.js'
import type { MemberOptions } from './registry/replica/participant.js'
import { PEER, type ServiceRecord } from './registry/trust/signed.js'
import { Service } from './service.js'

/** What a peer is told. */
export interface PeerOptions extends MemberOptions, MailOptions {
  /** What it calls itself in lists. */
  name?: string | undefined
  /** Its identity. Default: the process key, which consumers in the same folder call with. */
  keyPair?: KeyPair | undefined
  /** Which addresses it takes links on by TCP, beside the DHT. Default: `lan`. */
  direct?: DirectReach | undefined
  /** TCP port for that. Default: free ones. */
  directPort?: number | undefined
  /** How long `setup()` waits for a registrar, in ms; Infinity to wait on. Default: 30 s. */
  timeout?: number | undefined
}

/** What a peer emits. */
export interface PeerEvents {
  /** A letter. It counts as handled when what the listener returns resolves, and comes again if that rejects. */
  message: [message: MailMessage]
  /** What became of a letter that was sent, in this run or an earlier one. */
  receipt: [receipt: LetterReceipt]
  /** Its mail is open: letters can be written, and come, whether or not a registrar is there. */
  connecting: []
  /** A registrar confirmed its record; again after it was lost. */
  registered: [record: ServiceRecord]
  /** No registrar holds the record any more; the peer goes on trying. */
  lost: []
  /** The registry does not let us in. */
  denied: [reason: SeaportError]
  /** Something that may need a person's attention; the peer goes on. */
  notice: [notice: SeaportError]
}

const ROLE = `${PEER}@1.0.0`
const VERB = 'peer'
const DRAIN_TIMEOUT_MS = 1000

/** A key that writes letters to others and is written to: a service without a backend. */
class PeerFace extends EventEmitter<PeerEvents> {
  readonly #service: Service
  readonly #mail: Mail

  /** @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE */
  constructor(given: PeerOptions) {
    super()
    checkOptions(given)
    const { name, keyPair, ...options } = given
    const { registryPublicKey, dir, accept, ttl, outbox, inbox, hops, links } = options
    const { backoffs, retries, store, handover } = options
    const registry = parseKey(registryPublicKey, 'registry public key')
    this.#service = new Service({
      ...options,
      role: ROLE,
      commands: {},
      keyPair: keyPair ?? (() => keepProcessKey(registry, dir)),
      tags: [...(name ? [`name=${name}`] : []), ...(store ? ['mailbox'] : [])],
      mail: { accept, ttl, outbox, inbox, hops, links, store, handover, backoffs, retries },
      drainTimeout: DRAIN_TIMEOUT_MS,
      verb: VERB
    })
    this.#mail = this.#service.mail
    forward(this.#service, this, ['connecting', 'registered', 'lost', 'denied', 'notice'])
    forward(this.#mail, this, ['receipt'])
    this.#mail.handBy(this as EventEmitter)
  }

  /** Its address, 32 bytes. Known after `setup()`. */
  get publicKey(): Buffer {
    return this.#service.publicKey
  }

  /** The same in hex. */
  get key(): string {
    return this.#service.servicePublicKey
  }

  /**
   * Resolves once a registrar confirmed it.
   *
   * @throws KEY_IN_USE, REGISTRAR_NOT_FOUND, NOT_GRANTED, STORAGE_FAILED, CLOSED
   */
  async setup(options?: SetupOptions): Promise<this> {
    await this.#service.setup(options)
    return this
  }

  /** Leaves the registry. What was sent and not delivered stays on disk, and is sent when the peer is there again. */
  destroy(): Promise<void> {
    return this.#service.destroy()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /**
   * Writes a letter to a key, or to one instance of a role. Resolves when it is safe on this disk.
   *
   * @param to a key, or `role@range`
   * @param body JSON or bytes, up to 60 KiB
   * @throws BAD_KEY, BAD_ROLE, OUTBOX_FULL, TOO_LARGE, USAGE, CLOSED, STORAGE_FAILED
   */
  send(to: Buffer | string, body: unknown, options?: SendMailOptions): Promise<SentLetter> {
    return this.#mail.send(to, body, options)
  }

  /**
   * What waits to be read, in the order in which it came. A letter counts as read when the next one is asked for.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  inbox(): AsyncGenerator<MailMessage, void, undefined> {
    return this.#mail.inbox()
  }

  /** Letters that were written and have no final receipt. */
  outbox(): ReturnType<Mail['outbox']> {
    return this.#mail.outbox()
  }

  /** The other peers of the registry. */
  peers(): MailPeer[] {
    return this.#mail.peers()
  }

  /** Takes back a letter that has no final receipt. It may have been read. Tells whether there was one. */
  recall(id: string): Promise<boolean> {
    return this.#mail.recall(id)
  }

  /** Takes no letters of a key any more, also after a restart. */
  block(key: Buffer | string): Promise<void> {
    return this.#mail.block(key)
  }

  /** Takes its letters again. */
  unblock(key: Buffer | string): Promise<void> {
    return this.#mail.unblock(key)
  }

  /**
   * Links with a key, and tells on which path.
   *
   * @param address where it takes links by TCP, as `host:port`, if its record does not say so
   * @throws LINK_LOST, CLOSED, BAD_KEY
   */
  reach(key: Buffer | string, address?: string): Promise<PathView> {
    return this.#mail.reach(key, address)
  }

  /** Letters, links and streams, as numbers. */
  getStats(): ReturnType<Service['getStats']> {
    return this.#service.getStats()
  }

  /** The same as measures, for a scrape. */
  measures(): Iterable<Measure> {
    return this.#service.measures()
  }
}

export interface Peer extends PeerFace {}

/** Makes a peer; `new` works as well, and so does `extends`. */
export const Peer: Callable<[options: PeerOptions], Peer> = callable('Peer', PeerFace)
