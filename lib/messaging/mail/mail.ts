import { EventEmitter } from 'node:events'
import { SeaportError, type SeaportErrorCode } from '../../core/errors.js'
import { type KeyPair, parseKey, toHex } from '../../core/keys.js'
import { MAIL, MAILBOX } from '../../core/purpose.js'
import { parseRoleRange } from '../../core/role.js'
import { parseRolePattern, type RolePattern } from '../../core/role-pattern.js'
import type { PathView } from '../../link/pool.js'
import { PEER } from '../../registry/trust/record.js'
import type { Body } from '../body.js'
import type { Outgoing } from '../caller.js'
import type { Listening } from '../speaker.js'
import { forwarderOf } from './forwarding.js'
import type { MailMessage } from './inbox.js'
import { isLetterOf } from './letter.js'
import { receiveLetter } from './mail-stream.js'
import { serveMailbox } from './mailbox-stream.js'
import { type MailOptions, type MailParts, Office } from './office.js'
import type { SendMailOptions } from './outbox.js'
import type { Receiver } from './outbox-slip.js'
import type { LetterReceipt, SentLetter } from './sent-letter.js'

export interface MailEvents {
  /** A letter. It counts as handled when what the listener returns resolves, and comes again if that rejects. */
  message: [message: MailMessage]
  /** What became of a letter that was sent, in this run or an earlier one. */
  receipt: [receipt: LetterReceipt]
}

/** Somebody who takes letters, as `peers` shows it. */
export interface MailPeer {
  /** Hex. */
  key: string
  /** As it calls itself; '' if it does not. */
  name: string
  /** Whether a registrar holds its lease. */
  live: boolean
}

const NAME_TAG = 'name='
/**
 * Letters of one key: what it writes is on disk until its receiver has signed that it came, and what it is written is
 * on disk until it was read.
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
    // From the beginning, whether or not mail is wanted: letters of others pass here.
    forwarderOf(parts.participant.replica, parts.forward)
    this.handBy(this as EventEmitter)
  }

  /** The same, which is opened as soon as it can be: somebody has it in hand. */
  wanted(): this {
    if (this.#isWanted) return this
    this.#isWanted = true
    this.#parts.onwanted()
    return this
  }

  /** What letters to us are sealed to, for our record; undefined as long as there is no mail. */
  get prekey(): string | undefined {
    return this.#opened?.prekeys.current
  }

  /**
   * Writes a letter to a key, or to one instance of a role. Resolves when it is safe on this disk.
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
   * @throws what became of it; `executed` of it says whether it may have been executed
   */
  async call(to: string, outgoing: Outgoing, signal: AbortSignal): Promise<Body> {
    const { calls } = await this.#office()
    return calls.call(to, outgoing, signal)
  }

  /**
   * What waits to be read, in the order in which it came. A letter counts as read when the next one is asked for.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  async *inbox(): AsyncGenerator<MailMessage, void, undefined> {
    const { inbox } = await this.#office()
    yield* inbox.read()
  }

  /** Letters that were written and have no final receipt. */
  async outbox() {
    return (await this.#office()).outbox.list()
  }

  /** Takes back a letter that has no final receipt. It may have been read. Tells whether there was one. */
  async recall(id: string): Promise<boolean> {
    return (await this.#office()).recall(id)
  }

  /**
   * Takes no letters of a key any more, also after a restart.
   *
   * @throws BAD_KEY
   */
  async block(key: Buffer | string) {
    const hex = toHex(parseKey(key))
    const { store, blocked } = await this.#office()
    await store.apply([{ table: 'blocked', key: hex, value: Buffer.alloc(0) }])
    blocked.add(hex)
  }

  /** Takes its letters again. */
  async unblock(key: Buffer | string) {
    const hex = toHex(parseKey(key))
    const { store, blocked } = await this.#office()
    await store.apply([{ table: 'blocked', key: hex, value: null }])
    blocked.delete(hex)
  }

  /** All of the role `peer`, but for ourselves. */
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
   * Links with a key, and tells on which path.
   *
   * @param address where it takes links by TCP, as `host:port`, if its record does not say so
   * @throws LINK_LOST, CLOSED, BAD_KEY
   */
  async reach(key: Buffer | string, address?: string): Promise<PathView> {
    return (await this.#office()).reach(parseKey(key), address)
  }

  /** Letters that wait, and what was counted. */
  getStats() {
    const { outbox, inbox, boxes, seen, mailbox } = this.#opened ?? {}
    return {
      outbox: { ...outbox?.stats, waiting: boxes?.outbox.stats },
      inbox: { ...inbox?.stats, waiting: boxes?.inbox.stats, seen: seen?.size ?? 0 },
      mailbox: mailbox?.stats
    }
  }

  /**
   * Opens what is on disk, if mail is wanted. For its service alone, as what follows.
   *
   * @throws KEY_IN_USE, STORAGE_FAILED
   */
  async start(keyPair: KeyPair) {
    this.#keyPair = keyPair
    if (this.#isWanted) await this.#office()
  }

  /** Has another's listeners for `message` handle letters as well. */
  handBy(source: EventEmitter) {
    this.#sources.push(source)
    source.on('newListener', (event) => {
      // It is among the listeners soon.
      if (event === 'message') setImmediate(() => this.#opened?.inbox.wake())
    })
  }

  /** Takes letters from now on, if mail is wanted. Tells whether it did not before. */
  listen(listening: Listening): boolean {
    if (!this.#opened || this.#isListening) return false
    this.#isListening = true
    const { inbox } = this.#opened
    const { mailbox } = this.#opened
    if (mailbox) {
      listening.handle(MAILBOX, (stream, key) => serveMailbox(stream, toHex(key), mailbox))
    }
    listening.handle(MAIL, (stream, key) =>
      receiveLetter(stream, (letter, tell) => {
        // Mailboxes bring what others wrote, and do not tell them.
        const isWriter = isLetterOf(letter, key)
        return inbox.receive(letter, (receipt) => tell(receipt) && isWriter, isWriter)
      })
    )
    return true
  }

  /** Brings no more letters, while those that came are handled to their end. */
  async rest() {
    this.#isClosed = true
    const office = await this.#opening?.catch(() => null)
    await office?.rest()
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
      denialOf: (from, blocked) => this.#denialOf(from, blocked),
      handler: () => this.#handler()
    })
    await office.open()
    office.outbox.on('receipt', (receipt) => this.emit('receipt', receipt))
    this.#opened = office
    // Its purpose is taken on once it can be kept.
    this.#parts.onwanted()
    return office
  }

  #handler() {
    const listeners = this.#sources.flatMap((source) => source.listeners('message'))
    if (listeners.length === 0) return null
    return (message: MailMessage) =>
      Promise.all(listeners.map(async (listener) => listener.call(this, message)))
  }

  #denialOf(from: string, blocked: ReadonlySet<string>): SeaportErrorCode | null {
    if (blocked.has(from)) return 'NOT_ALLOWED'
    const { grants } = this.#parts.participant.membership
    if (!grants.allows(from, { kind: 'read' })) return 'NOT_GRANTED'
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

/** Who may write, where not all may. */
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
