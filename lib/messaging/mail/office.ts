import { join } from 'node:path'
import { SeaportError, type SeaportErrorCode } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { KeyedRetry } from '../../core/keyed-retry.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { MAIL, MAILBOX } from '../../core/purpose.js'
import { parseRoleRange } from '../../core/role.js'
import { linksOf } from '../../dialing/links.js'
import type { LinkPool, PathView } from '../../link/pool.js'
import { defaultDir } from '../../registry/log/storage.js'
import { MAX_MAILBOXES, recordOf } from '../../registry/trust/signed.js'
import { Delivery } from './delivery.js'
import type { Forwarder } from './forwarder.js'
import { forwarderOf } from './forwarding.js'
import { Inbox, type InboxSlip, type MailMessage } from './inbox.js'
import { LastRecords } from './last-records.js'
import { BOX_LIMITS, LetterBox } from './letter-box.js'
import { MailCalls } from './mail-calls.js'
import type { MailParts } from './mail-options.js'
import { MailStore } from './mail-store.js'
import { Mailbox } from './mailbox.js'
import { Mailboxes } from './mailboxes.js'
import { NamedMailboxes } from './named-mailboxes.js'
import { Outbox } from './outbox.js'
import type { OutboxSlip } from './outbox-slip.js'
import { Prekeys } from './prekeys.js'
import type { Receipt } from './receipt.js'
import { ReceiverRecords } from './receiver-records.js'
import { SeenIds } from './seen-ids.js'
import { Segments } from './segments.js'

const FOLDER = 'mail'
const KEPT = Buffer.from('hyperseaport/kept/1')
const KEY_NAME_LENGTH = 32
/** A mailbox also keeps records of receivers: one (at most 4 KiB) per so many bytes of its size. */
const BYTES_PER_RECORD = 64 * 1024
const UPKEEP_MS = 10 * 60_000
/** How long a receiver that comes has to fetch the letters that we keep for it before we bring them, in ms. */
const FETCHING_MS = 5000
/** How long mailboxes may be away before their letters are handed to others, in ms. */
const HANDOVER_MS = 10_000

export interface OfficeParts {
  keyPair: KeyPair
  /** Null if `from` may write, or had not been revoked yet when it wrote what a mailbox has, at `keptSince`. */
  denialOf: (
    from: string,
    blocked: ReadonlySet<string>,
    keptSince?: number
  ) => SeaportErrorCode | null
  handler: () => ((message: MailMessage) => Promise<unknown>) | null
}

/** All that mail needs while it is open. */
export class Office {
  readonly store: MailStore
  readonly prekeys: Prekeys
  readonly seen: SeenIds
  readonly boxes: { outbox: LetterBox<OutboxSlip>; inbox: LetterBox<InboxSlip> }
  readonly outbox: Outbox
  readonly inbox: Inbox
  /** Commands that come and go as letters. */
  readonly calls: MailCalls
  readonly pool: LinkPool
  readonly blocked = new Set<string>()
  /** TCP addresses of keys that a user has given. */
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #parts: MailParts
  readonly #key: string
  readonly #abort = new AbortController()
  readonly #forwarder: Forwarder
  readonly #mailboxes: Mailboxes
  /** The mailbox in which we keep letters for others; null if we keep none. */
  readonly mailbox: Mailbox | null
  /** The last records that we saw as a mailbox; null if we are none. */
  readonly records: LastRecords | null
  /** The mailboxes that keep letters to us first. */
  readonly named: NamedMailboxes
  readonly #receivers: ReceiverRecords
  readonly #segments: Segments | null
  readonly #delivery: Delivery
  #stopWatching = () => {}
  #detach = () => {}
  #upkeep: NodeJS.Timeout | null = null
  #followTimer: NodeJS.Timeout | null = null
  /** Brings letters that we keep to receivers that are there. */
  readonly #bringing: KeyedRetry

  constructor(parts: MailParts, { keyPair, denialOf, handler }: OfficeParts) {
    const { participant, dir, verb, onnotice, direct, ttl, backoffs, retries } = parts
    this.#parts = parts
    this.#key = toHex(keyPair.publicKey)
    const { registry, directory } = participant.replica
    const folder = dir ?? defaultDir(registry, verb)
    const own = join(folder, FOLDER, this.#key.slice(0, KEY_NAME_LENGTH))
    this.store = new MailStore(own, onnotice)
    this.prekeys = new Prekeys(this.store, keyPair)
    this.seen = new SeenIds(this.store)
    this.boxes = {
      outbox: new LetterBox(this.store, 'outbox', { ...BOX_LIMITS, ...parts.outbox }),
      inbox: new LetterBox(this.store, 'inbox', { ...BOX_LIMITS, ...parts.inbox })
    }
    this.pool = linksOf(participant, direct, {
      keyPair: () => keyPair,
      addressesOf: (key) => [
        ...(this.#addresses.get(toHex(key)) ?? []),
        ...participant.addressesOf(key)
      ]
    })
    this.#forwarder = forwarderOf(participant.replica)
    this.#delivery = new Delivery({
      ...{ key: this.#key, pool: this.pool, forwarder: this.#forwarder, directory },
      ...{ links: parts.links, hops: parts.hops, signal: this.#abort.signal },
      take: (letter, tell) => this.inbox.receive(letter, tell)
    })
    const mayWrite = (from: string) => participant.membership.grants.allows(from, { kind: 'read' })
    const { store } = parts
    const salt = crypto.hash([KEPT, keyPair.secretKey]).readUInt32LE(0)
    this.#segments = store ? new Segments(`${own}-kept`, { maxBytes: store, salt }) : null
    this.mailbox =
      this.#segments && store
        ? new Mailbox({
            ...{ registry, keyPair, segments: this.#segments, maxBytes: store, mayWrite },
            onkept: ({ to }) => {
              this.#bringing.wake(to)
              void this.#mailboxes.learn(to)
            }
          })
        : null
    this.records = store
      ? new LastRecords(this.store, { registry, max: store / BYTES_PER_RECORD, onnotice })
      : null
    this.#bringing = new KeyedRetry((to) => this.#bringKept(to), backoffs)
    this.named = new NamedMailboxes(this.store)
    const open = (mailbox: string) => this.#delivery.open(mailbox, MAILBOX)
    this.#receivers = new ReceiverRecords({ registry, directory, last: this.records, open })
    this.#mailboxes = new Mailboxes({
      directory,
      key: this.#key,
      outbox: () => this.outbox,
      inbox: () => this.inbox,
      records: this.#receivers,
      open,
      backoffs
    })
    const common = { registry, keyPair, now: Date.now }
    this.calls = new MailCalls({
      outbox: () => this.outbox,
      oncall: () => parts.oncall ?? null,
      onnotice,
      now: Date.now
    })
    this.inbox = new Inbox({
      ...common,
      box: this.boxes.inbox,
      seen: this.seen,
      prekeys: this.prekeys,
      denialOf: (from, keptSince) => denialOf(from, this.blocked, keptSince),
      isRevoked: (from) => participant.membership.grants.isRevoked(from),
      handler,
      ownHandler: (type) => this.calls.handlerOf(type),
      onreceipt: (receipt) => void this.outbox.receive(receipt),
      tellByLetter: (receipt, expiresAt) => void this.outbox.sendReceipt(receipt, expiresAt),
      onnotice,
      retries
    })
    this.outbox = new Outbox({
      ...common,
      box: this.boxes.outbox,
      prekeyOf: (key) =>
        key === this.#key ? this.prekeys.current : (this.#receivers.get(key)?.prekey ?? null),
      instances: (text) => {
        const { role, range } = parseRoleRange(text)
        const all = directory.resolve(role, range).filter(({ speaks }) => speaks.includes(MAIL))
        const keys = all.map(({ servicePublicKey }) => servicePublicKey)
        return keys.filter((key) => key !== this.#key)
      },
      keep: (id, to, seal) => this.#mailboxes.keep(id, to, seal),
      isAway: (key) => key !== this.#key && directory.get(key) === null,
      isSynced: () => participant.replica.isSynced,
      deliver: (to, letter, onreceipt) => this.#delivery.deliver(to, letter, onreceipt),
      ttl,
      backoffs
    })
  }

  async open() {
    await this.store.open()
    const now = Date.now()
    await this.prekeys.load(now)
    await this.seen.load()
    await this.boxes.outbox.load()
    await this.boxes.inbox.load()
    await this.#loadKept()
    await this.named.load()
    for await (const { key } of this.store.entries('blocked')) this.blocked.add(key)
    const { backoffs, participant } = this.#parts
    const { replica } = participant
    this.#stopWatching = replica.directory.watch((change, { servicePublicKey, speaks }) => {
      if (change !== 'update') this.outbox.wake(servicePublicKey)
      if (change === 'up' && this.mailbox?.hasLettersTo(servicePublicKey)) {
        this.#bringing.wake(servicePublicKey, backoffs?.[0] ?? FETCHING_MS)
      }
      if (change !== 'down') this.#remember(servicePublicKey)
      if (!speaks.includes(MAILBOX)) return
      this.#followSoon()
      if (change !== 'up') return
      this.#mailboxes.fetch(servicePublicKey)
      this.outbox.review()
    })
    for (const { servicePublicKey } of replica.directory.list()) this.#remember(servicePublicKey)
    this.#detach = this.#forwarder.attach(this.#key, {
      take: (letter, onreceipt) => this.inbox.receive(letter, onreceipt),
      onreceipt: (receipt) => void this.outbox.receive(receipt),
      onpassing: (receipt) => this.#settle(receipt, true)
    })
    this.outbox.start()
    this.#followSoon()
    this.inbox.wake()
    this.#upkeep = setInterval(() => void this.#keepUp(), UPKEEP_MS)
    this.#upkeep.unref()
    void this.#keepUp()
    this.#mailboxes.fetchAll()
    void replica.synced().then(() => this.outbox.review())
  }

  /** Reads what we keep for others as a mailbox. */
  async #loadKept() {
    const damaged = await this.mailbox?.load()
    await this.records?.load()
    if (!damaged) return
    const text = `some letters that were kept for others are damaged on disk (${damaged} bytes), and lost`
    this.#parts.onnotice(SeaportError.STORAGE_FAILED(text))
  }

  /** Makes a link to a key, at an address as well if one is given. */
  async reach(key: Buffer, address?: string): Promise<PathView> {
    if (address !== undefined) this.#addresses.set(toHex(key), [address])
    const view = await this.pool.reach(key, this.#abort.signal)
    this.outbox.wake(toHex(key))
    return view
  }

  /** Takes back a letter that has no final receipt, here and in mailboxes. */
  async recall(id: string): Promise<boolean> {
    const isKept = (this.outbox.keptBy(id) ?? []).length > 0
    const wasThere = await this.outbox.recall(id)
    if (wasThere && isKept) void this.#mailboxes.recall(id)
    return wasThere
  }

  /** Stops sending, and closes links while the DHT can still be told. */
  async stopSending() {
    this.#abort.abort(SeaportError.CLOSED('the mail was closed'))
    this.#stopWatching()
    this.#detach()
    if (this.#upkeep) clearInterval(this.#upkeep)
    if (this.#followTimer) clearTimeout(this.#followTimer)
    this.outbox.close()
    this.#bringing.close()
    this.#mailboxes.close()
    await this.pool.close()
  }

  /** Waits for handlers that run. */
  async close() {
    await this.inbox.close()
    await this.mailbox?.close()
    await this.#segments?.close()
    await this.store.close()
  }

  /** Never rejects. */
  async #keepUp() {
    try {
      await this.seen.sweep(Date.now())
      await this.mailbox?.sweep()
      this.#mailboxes.fetchAll()
      const receivers = new Set(this.mailbox?.list().map(({ to }) => to))
      for (const to of receivers) this.#bringing.wake(to)
      this.#followSoon()
      if (await this.prekeys.renew(Date.now())) this.#parts.onrecord()
    } catch (error) {
      this.#onfailed(error)
    }
  }

  /** Names mailboxes, and hands over letters that we keep, once no mailbox has come or gone for a while. */
  #followSoon() {
    if (this.#abort.signal.aborted) return
    const { handover = HANDOVER_MS } = this.#parts
    if (this.#followTimer) clearTimeout(this.#followTimer)
    this.#followTimer = setTimeout(() => void this.#followMailboxes(), handover)
  }

  /** Never rejects. */
  async #followMailboxes() {
    const { onrecord } = this.#parts
    try {
      const there = this.#mailboxes.ranked()
      if (await this.named.renew(there, MAX_MAILBOXES, Date.now())) onrecord()
      if (this.mailbox) await this.#mailboxes.handOver(this.mailbox)
    } catch (error) {
      this.#onfailed(error)
    }
  }

  /** Keeps the record of somebody who takes letters, for those who write when it is away. */
  #remember(key: string) {
    const entry = this.#parts.participant.replica.directory.entry(key)
    const record = entry && recordOf(entry)
    if (record?.prekey) this.records?.add(record).catch((error) => this.#onfailed(error))
  }

  #onfailed(error: unknown) {
    if (!this.#abort.signal.aborted) this.#parts.onnotice(error as SeaportError)
  }

  /**
   * Brings letters that we keep to a receiver that is there. Its writer found no way to it, but we may. Resolves with
   * whether none is left that it could have now.
   */
  async #bringKept(to: string): Promise<boolean> {
    const { mailbox } = this
    const { directory } = this.#parts.participant.replica
    if (!mailbox || directory.get(to) === null) return true
    for await (const letter of mailbox.lettersTo(to)) {
      const receipt = await this.#delivery.deliver(to, letter, (late) => this.#settle(late))
      if (receipt) await mailbox.settle(receipt)
    }
    return !mailbox.hasLettersTo(to)
  }

  /**
   * @param isOurs whether it goes no further: a receipt goes back to whoever brought its letter by way of others, and
   * where that was this mailbox, the writer has to hear of it
   */
  async #settle(receipt: Receipt, isOurs = false) {
    try {
      const letter = await this.mailbox?.settle(receipt)
      if (letter && isOurs) await this.outbox.sendReceipt(receipt, letter.expiresAt)
    } catch (error) {
      this.#onfailed(error)
    }
  }
}
