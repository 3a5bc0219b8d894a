import { EventEmitter } from 'node:events'
import { SeaportError, type SeaportErrorCode } from '../../core/errors.js'
import { type KeyPair, parseKey, toHex } from '../../core/keys.js'
import { MAIL, MAILBOX } from '../../core/purpose.js'
import { parseRoleRange } from '../../core/role.js'
import { parseRolePattern, type RolePattern } from '../../core/role-pattern.js'
import type { PathView } from '../../link/pool.js'
import { PEER, type RecordFields } from '../../registry/trust/signed.js'
import type { Body } from '../body.js'
import type { Outgoing } from '../caller.js'
import type { Listening } from '../speaker.js'
import { forwarderOf } from './forwarding.js'
import type { MailMessage } from './inbox.js'
import { isLetterOf } from './letter.js'
import type { MailOptions, MailParts } from './mail-options.js'
import { receiveLetter } from './mail-stream.js'
import { serveMailbox } from './mailbox-stream.js'
import { Office } from './office.js'
import type { Receiver } from './outbox-slip.js'
import type { LetterReceipt, SendMailOptions, SentLetter } from './sent-letter.js'

export interface MailEvents {
  /**
   * A letter has come. It counts as handled when the promise that the listener returns resolves, and is handed over
   * again if it rejects.
   */
  message: [message: MailMessage]
  /** The status of a letter that was sent, in this run or an earlier one. */
  receipt: [receipt: LetterReceipt]
}

/** A peer, as `peers` lists it. */
export interface MailPeer {
  /** Hex. */
  key: string
  /** The name that it gave itself; '' if none. */
  name: string
  /** Whether a registrar holds its lease. */
  live: boolean
}

const NAME_TAG = 'name='
/**
 * The letters of one key. Those that it writes are on disk until the receiver has signed for them, and those that it
 * gets are on disk until they were read.
 */
export class Mail extends EventEmitter<MailEvents> {
  readonly #parts: MailParts
  readonly #accepted: Accepted | null
  readonly #sources: EventEmitter[] = []
  #isWanted = false
  #isListening = false
  #opened: Office | null = null
  #opening: Promise<Office> | null = null
  #keyPair: KeyPair | null = null
  #isClosed = false

  /** @throws BAD_KEY, BAD_ROLE */
  constructor(parts: MailParts) {
    super()
    this.#parts = parts
    this.#accepted = checkMail(parts)
    // Letters between others are passed on from the beginning, whether or not this key uses mail.
    forwarderOf(parts.participant.replica, parts.forward)
    this.handBy(this as EventEmitter)
  }

  /** Marks mail as used, so that it is opened as soon as possible, and returns it. */
  wanted(): this {
    if (this.#isWanted) return this
    this.#isWanted = true
    this.#parts.onwanted()
    return this
  }

  /** What our record says of mail: nothing as long as that is not open. */
  get fields(): Pick<RecordFields, 'prekey' | 'mailboxes'> {
    const { prekeys, named } = this.#opened ?? {}
    return { prekey: prekeys?.current, mailboxes: named?.keys }
  }

  /**
   * Writes a letter to a key, or to one instance of a role. Resolves when it is on this disk.
   *
   * @param to a key, or `role@range`
   * @param body JSON or bytes, up to 60 KiB
   * @throws BAD_KEY, BAD_ROLE, OUTBOX_FULL, TOO_LARGE, USAGE, CLOSED, STORAGE_FAILED, KEY_IN_USE
   */
  async send(to: Buffer | string, body: unknown, options?: SendMailOptions): Promise<SentLetter> {
    const receiver = receiverOf(to)
    const { outbox } = await this.#office()
    return outbox.send(receiver, body, options)
  }

  /**
   * Sends a command to one key by letter, and resolves with its answer.
   *
   * @internal
   * @throws the error that it ended with; its `executed` says whether it may have been executed
   */
  async call(to: string, outgoing: Outgoing, signal: AbortSignal): Promise<Body> {
    const { calls } = await this.#office()
    return calls.call(to, outgoing, signal)
  }

  /**
   * Yields the letters that wait, in the order in which they came. A letter counts as read when the next one is asked
   * for.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  async *inbox(): AsyncGenerator<MailMessage, void, undefined> {
    const { inbox } = await this.#office()
    yield* inbox.read()
  }

  /** Lists the letters that were written and have no final receipt. */
  async outbox() {
    return (await this.#office()).outbox.list()
  }

  /**
   * Takes back a letter that has no final receipt. It may have been read already. Resolves with whether there was such
   * a letter.
   */
  async recall(id: string): Promise<boolean> {
    return (await this.#office()).recall(id)
  }

  /**
   * Refuses all letters of a key from now on, also after a restart.
   *
   * @throws BAD_KEY
   */
  async block(key: Buffer | string) {
    const hex = toHex(parseKey(key))
    const { store, blocked } = await this.#office()
    await store.apply([{ table: 'blocked', key: hex, value: Buffer.alloc(0) }])
    blocked.add(hex)
  }

  /** Takes letters of a blocked key again. */
  async unblock(key: Buffer | string) {
    const hex = toHex(parseKey(key))
    const { store, blocked } = await this.#office()
    await store.apply([{ table: 'blocked', key: hex, value: null }])
    blocked.delete(hex)
  }

  /** All instances of the role `peer` except ourselves. */
  peers(): MailPeer[] {
    const { directory } = this.#parts.participant.replica
    const own = this.#keyPair && toHex(this.#keyPair.publicKey)
    return directory
      .resolve(PEER, '*', 'all')
      .filter(({ servicePublicKey }) => servicePublicKey !== own)
      .map(({ servicePublicKey, tags, live }) => ({
        key: servicePublicKey,
        name: nameIn(tags),
        live
      }))
  }

  /**
   * Makes a link to a key, and resolves with its path.
   *
   * @param address a TCP address of it, as `host:port`, if its record has none
   * @throws LINK_LOST, CLOSED, BAD_KEY
   */
  async reach(key: Buffer | string, address?: string): Promise<PathView> {
    return (await this.#office()).reach(parseKey(key), address)
  }

  /** How many letters wait, and the counters, those of letters that are passed on for others as well. */
  getStats() {
    const { outbox, inbox, boxes, seen, mailbox } = this.#opened ?? {}
    return {
      outbox: { ...outbox?.stats, waiting: boxes?.outbox.stats },
      inbox: { ...inbox?.stats, waiting: boxes?.inbox.stats, seen: seen?.size ?? 0 },
      mailbox: mailbox?.stats,
      forwarding: { ...forwarderOf(this.#parts.participant.replica).stats }
    }
  }

  /**
   * Opens what is on disk, if mail is used. This and the methods after it are for its service alone.
   *
   * @throws KEY_IN_USE, STORAGE_FAILED
   */
  async start(keyPair: KeyPair) {
    this.#keyPair = keyPair
    if (this.#isWanted) await this.#office()
  }

  /** Lets the listeners of another emitter for `message` handle letters as well. */
  handBy(source: EventEmitter) {
    this.#sources.push(source)
    source.on('newListener', (event) => {
      // The event comes just before the listener is added.
      if (event === 'message') setImmediate(() => this.#opened?.inbox.wake())
    })
  }

  /** Takes letters from now on, if mail is used. Returns whether it did not before. */
  listen(listening: Listening): boolean {
    if (!this.#opened || this.#isListening) return false
    this.#isListening = true
    const { inbox } = this.#opened
    const { mailbox, records } = this.#opened
    if (mailbox && records) {
      listening.handle(MAILBOX, (stream, key) => serveMailbox(stream, toHex(key), mailbox, records))
    }
    listening.handle(MAIL, (stream, key) =>
      receiveLetter(stream, (letter, tell) => {
        // A mailbox brings letters that others wrote, and does not pass receipts on to them.
        const isWriter = isLetterOf(letter, key)
        return inbox.receive(letter, (receipt) => tell(receipt) && isWriter, isWriter)
      })
    )
    return true
  }

  /** Stops sending letters. Those that came are still handled to their end. */
  async stopSending() {
    this.#isClosed = true
    const office = await this.#opening?.catch(() => null)
    await office?.stopSending()
  }

  async close() {
    const office = await this.#opening?.catch(() => null)
    await office?.close()
  }

  /** @throws CLOSED, KEY_IN_USE, STORAGE_FAILED */
  #office(): Promise<Office> {
    if (this.#isClosed || !this.#keyPair) {
      throw SeaportError.CLOSED(
        this.#isClosed ? 'the mail is closed' : 'mail is there once the service was set up'
      )
    }
    this.#opening ??= this.#open(this.#keyPair)
    return this.#opening
  }

  async #open(keyPair: KeyPair): Promise<Office> {
    const office = new Office(this.#parts, {
      keyPair,
      denialOf: (from, blocked, keptSince) => this.#denialOf(from, blocked, keptSince),
      handler: () => this.#handler()
    })
    await office.open()
    office.outbox.on('receipt', (receipt) => this.emit('receipt', receipt))
    this.#opened = office
    // The service takes streams of mail only once letters can be stored.
    this.#parts.onwanted()
    return office
  }

  #handler() {
    const listeners = this.#sources.flatMap((source) => source.listeners('message'))
    if (listeners.length === 0) return null
    return (message: MailMessage) =>
      Promise.all(listeners.map(async (listener) => listener.call(this, message)))
  }

  #denialOf(
    from: string,
    blocked: ReadonlySet<string>,
    keptSince = Infinity
  ): SeaportErrorCode | null {
    if (blocked.has(from)) return 'NOT_ALLOWED'
    const { grants } = this.#parts.participant.membership
    // What a key wrote before it was put out counts, if a mailbox has kept it since.
    const mayWrite =
      grants.allows(from, { kind: 'read' }) || keptSince < (grants.revokedAt(from) ?? 0)
    if (!mayWrite) return 'NOT_GRANTED'
    return this.#accepts(from) ? null : 'NOT_ALLOWED'
  }

  #accepts(from: string): boolean {
    if (!this.#accepted || this.#accepted.keys.has(from)) return true
    const instance = this.#parts.participant.replica.directory.get(from)
    if (!instance) return false
    const { role, version } = instance
    return this.#accepted.patterns.some((pattern) => pattern.has(role, version))
  }
}

/** The keys and roles that may write, if not all may. */
interface Accepted {
  keys: ReadonlySet<string>
  patterns: readonly RolePattern[]
}

/**
 * Checks options before anything is opened.
 *
 * @throws BAD_KEY, BAD_ROLE
 */
export function checkMail({ accept }: MailOptions = {}): Accepted | null {
  if (!accept) return null
  const isKey = (one: Buffer | string) => typeof one !== 'string' || /^\w{52,64}$/.test(one)
  return {
    keys: new Set(accept.filter(isKey).map((key) => toHex(parseKey(key)))),
    patterns: accept.filter((one) => !isKey(one)).map((one) => parseRolePattern(`${one}`))
  }
}

/** @throws BAD_KEY, BAD_ROLE */
function receiverOf(to: Buffer | string): Receiver {
  if (typeof to !== 'string') return { key: toHex(parseKey(to)) }
  if (!to.includes('@')) return { key: toHex(parseKey(to, 'receiver')) }
  const { role, range } = parseRoleRange(to)
  return { role: `${role}@${range}` }
}

function nameIn(tags: readonly string[]): string {
  return tags.find((tag) => tag.startsWith(NAME_TAG))?.slice(NAME_TAG.length) ?? ''
}
