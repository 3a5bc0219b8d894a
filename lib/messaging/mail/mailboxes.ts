import type { SeaportError, SeaportErrorCode } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { KeyedRetry } from '../../core/keyed-retry.js'
import { MAILBOX } from '../../core/purpose.js'
import type { LinkStream } from '../../link/stream.js'
import type { Directory } from '../../registry/replica/directory.js'
import { MAX_MAILBOXES, type ServiceRecord } from '../../registry/trust/signed.js'
import type { Inbox } from './inbox.js'
import type { Mailbox } from './mailbox.js'
import { askKept, fetchLetters, keepLetter, MAX_ASKED_IDS, recallLetter } from './mailbox-stream.js'
import type { Outbox } from './outbox.js'
import type { Receipt } from './receipt.js'
import type { ReceiverRecords } from './receiver-records.js'

export interface MailboxesOptions {
  directory: Directory
  /** Our own key, hex. */
  key: string
  outbox: () => Outbox
  inbox: () => Inbox
  /** The records of those whom letters go to. */
  records: ReceiverRecords
  open: (mailbox: string) => Promise<LinkStream>
  /** Waits before a mailbox that could not be reached is asked for letters again, in ms. */
  backoffs?: readonly number[] | undefined
}

/**
 * How long a mailbox that brought us a letter waits for its receipt, in ms. Without one it goes on keeping the letter.
 */
const HANDLING_MS = 30_000

/** The mailboxes of a registry, for writers and receivers of letters. */
export class Mailboxes {
  readonly #options: MailboxesOptions
  readonly #fetching: KeyedRetry

  constructor(options: MailboxesOptions) {
    this.#options = options
    this.#fetching = new KeyedRetry((mailbox) => this.#fetchFrom(mailbox), options.backoffs)
  }

  /**
   * Asks the mailboxes that are responsible for a letter, and do not keep it yet, to keep it. Never rejects.
   *
   * @param seal seals it as the receiver's record says, which may have to be asked for first
   * @returns the code of why the last one did not; '' if all have kept it
   */
  async keep(id: string, to: string, seal: () => Buffer): Promise<SeaportErrorCode | ''> {
    const { outbox, open } = this.#options
    const record = await this.learn(to)
    const kept = outbox().keptBy(id)
    if (kept === null) return ''
    const chosen = this.#chosenFor(to, this.#all(), record)
    const wanted = chosen.filter((mailbox) => !kept.includes(mailbox))
    if (kept.length === 0 && wanted.length === 0) return 'NO_MAILBOX'
    let code: SeaportErrorCode | '' = ''
    const letter = seal()
    // This goes one by one, because each mailbox that keeps the letter is noted on disk beside it.
    for (const mailbox of wanted) {
      try {
        await outbox().takeKept(await keepLetter(await open(mailbox), letter), mailbox)
      } catch (error) {
        // It is asked again when the letter is tried again.
        code = (error as SeaportError).code
      }
    }
    return code
  }

  /** The record of a receiver. If it has none in the registry, mailboxes are asked for it. Never rejects. */
  learn(to: string): Promise<ServiceRecord | null> {
    return this.#options.records.learn(to, this.#ranked(to, this.#all()))
  }

  /** The mailboxes that are there, those first that are responsible for us. */
  ranked(): string[] {
    return this.#ranked(this.#options.key, this.#all())
  }

  /** Takes a letter back from all mailboxes, since they may have handed it on. Never rejects. */
  async recall(id: string) {
    const recalls = this.#all().map(async (mailbox) => {
      await recallLetter(await this.#options.open(mailbox), id)
    })
    await Promise.allSettled(recalls)
  }

  /**
   * Hands the letters that we keep to all mailboxes that are responsible for them now, and drops those for which we are
   * not responsible any more once all of these keep them. Never rejects.
   */
  async handOver(own: Mailbox) {
    const { key, records } = this.#options
    const chosen = new Map<string, string[]>()
    const wanted = new Map<string, string[]>()
    const letters = own.list()
    for (const { id, to } of letters) {
      const mailboxes =
        chosen.get(to) ?? this.#chosenFor(to, [...this.#all(), key], await records.known(to))
      chosen.set(to, mailboxes)
      for (const mailbox of mailboxes) {
        if (mailbox === key) continue
        const ids = wanted.get(mailbox) ?? []
        wanted.set(mailbox, ids)
        ids.push(id)
      }
    }
    const had = new Map<string, Set<string>>()
    await Promise.all(
      [...wanted].map(async ([mailbox, ids]) =>
        had.set(mailbox, await this.#handTo(mailbox, ids, own))
      )
    )
    for (const { id, to } of letters) {
      const mailboxes = chosen.get(to) ?? []
      const isOurs = mailboxes.includes(key)
      if (!isOurs && mailboxes.every((mailbox) => had.get(mailbox)?.has(id))) await own.giveAway(id)
    }
  }

  /** Hands letters to a mailbox that lacks them, and returns which ones it keeps. Never rejects. */
  async #handTo(mailbox: string, ids: readonly string[], own: Mailbox): Promise<Set<string>> {
    const { open } = this.#options
    const kept = new Set<string>()
    try {
      for (let i = 0; i < ids.length; i += MAX_ASKED_IDS) {
        const asked = ids.slice(i, i + MAX_ASKED_IDS)
        const there = new Set(await askKept(await open(mailbox), asked))
        for (const id of asked) {
          const letter = there.has(id) ? null : await own.letter(id)
          if (letter && (await this.#isKept(mailbox, letter))) there.add(id)
          if (there.has(id)) kept.add(id)
        }
      }
    } catch {
      // The mailbox went away or is full. The rest is tried the next time.
    }
    return kept
  }

  /** Fetches the letters that any mailbox keeps for us. */
  fetchAll() {
    for (const mailbox of this.#all()) this.fetch(mailbox)
  }

  /** Fetches the letters that a key keeps for us, if it is a mailbox. It is asked again while it cannot be reached. */
  fetch(mailbox: string) {
    this.#fetching.wake(mailbox)
  }

  /** Asks mailboxes for letters no more. */
  close() {
    this.#fetching.close()
  }

  /** @throws LINK_LOST, OPEN_TIMEOUT, and what the mailbox cut the stream with */
  async #fetchFrom(mailbox: string): Promise<boolean> {
    if (this.#all().includes(mailbox)) {
      await fetchLetters(await this.#options.open(mailbox), (letter) => this.#take(letter))
    }
    return true
  }

  /**
   * Asks a mailbox to keep a letter, and resolves with whether it does.
   *
   * @throws LINK_LOST
   */
  async #isKept(mailbox: string, letter: Buffer): Promise<boolean> {
    const stream = await this.#options.open(mailbox)
    return keepLetter(stream, letter).then(
      () => true,
      () => false
    )
  }

  /** @throws an error if the letter is refused */
  async #take(letter: Buffer): Promise<Receipt | null> {
    let told: (receipt: Receipt | null) => void = () => {}
    const tell = (receipt: Receipt) => {
      told(receipt)
      // The mailbox gets the receipt, but does not pass it on to the writer.
      return false
    }
    const later = new Promise<Receipt | null>((resolve) => {
      told = resolve
    })
    const receipt = await this.#options.inbox().receive(letter, tell, false)
    if (receipt) return receipt
    const timer = setTimeout(() => told(null), HANDLING_MS)
    timer.unref()
    return later.finally(() => clearTimeout(timer))
  }

  /**
   * The mailboxes that are responsible for a receiver: those that its record names, and then by rendezvous hashing.
   * Everybody computes the same ones, and few letters move when a mailbox comes or goes.
   */
  #chosenFor(to: string, mailboxes: readonly string[], record: ServiceRecord | null): string[] {
    const named = (record?.mailboxes ?? []).filter((mailbox) => mailboxes.includes(mailbox))
    const others = this.#ranked(to, mailboxes).filter((mailbox) => !named.includes(mailbox))
    return [...named, ...others].slice(0, MAX_MAILBOXES)
  }

  #ranked(to: string, mailboxes: readonly string[]): string[] {
    const weight = (mailbox: string) =>
      crypto.hash([Buffer.from(to, 'hex'), Buffer.from(mailbox, 'hex')]).toString('hex')
    return mailboxes
      .filter((mailbox) => mailbox !== to)
      .map((mailbox) => ({ mailbox, weight: weight(mailbox) }))
      .sort((a, b) => (a.weight < b.weight ? 1 : -1))
      .map(({ mailbox }) => mailbox)
  }

  #all(): string[] {
    const { directory, key } = this.#options
    return directory
      .list()
      .filter(
        ({ speaks, servicePublicKey }) => servicePublicKey !== key && speaks.includes(MAILBOX)
      )
      .map(({ servicePublicKey }) => servicePublicKey)
  }
}
