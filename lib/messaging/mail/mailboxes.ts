import { crypto } from '../../core/holepunch.js'
import { MAILBOX } from '../../core/purpose.js'
import type { LinkStream } from '../../link/stream.js'
import type { Directory } from '../../registry/replica/directory.js'
import type { Inbox } from './inbox.js'
import { decodeLetter } from './letter.js'
import type { Mailbox } from './mailbox.js'
import { askKept, fetchLetters, keepLetter, MAX_ASKED_IDS, recallLetter } from './mailbox-stream.js'
import type { Outbox } from './outbox.js'
import type { Receipt } from './receipt.js'

export interface MailboxesOptions {
  directory: Directory
  /** Our own key, hex. */
  key: string
  outbox: () => Outbox
  inbox: () => Inbox
  open: (mailbox: string) => Promise<LinkStream>
}

/** A letter is kept in so many places. */
const COPIES = 3
/** How long a mailbox waits for the receipt of a letter that is being handled, in ms; it keeps it if there is none. */
const HANDLING_MS = 30_000

/** Those who keep letters for others, as who writes and who reads letters uses them. */
export class Mailboxes {
  readonly #options: MailboxesOptions
  readonly #fetching = new Set<string>()

  constructor(options: MailboxesOptions) {
    this.#options = options
  }

  /** Has a letter kept by those who are to, and do not keep it yet. Never rejects. */
  async keep(to: string, letter: Buffer) {
    const { outbox, open } = this.#options
    const { id } = decodeLetter(letter)
    const kept = outbox().keptBy(id)
    if (kept === null) return
    const wanted = this.#chosenFor(to, this.#all()).filter((mailbox) => !kept.includes(mailbox))
    // One after the other, as each is written down with the letter.
    for (const mailbox of wanted) {
      try {
        await outbox().takeKept(await keepLetter(await open(mailbox), letter), mailbox)
      } catch {
        // It is tried again when the letter is.
      }
    }
  }

  /** Takes a letter back, wherever it was handed on to. Never rejects. */
  async recall(id: string) {
    const recalls = this.#all().map(async (mailbox) => {
      await recallLetter(await this.#options.open(mailbox), id)
    })
    await Promise.allSettled(recalls)
  }

  /**
   * Has what we keep kept by all who are to now, and gives away what others are to keep in our place. Never rejects.
   */
  async handOver(own: Mailbox) {
    const { key } = this.#options
    const chosen = new Map<string, string[]>()
    const wanted = new Map<string, string[]>()
    const letters = own.list()
    for (const { id, to } of letters) {
      const mailboxes = chosen.get(to) ?? this.#chosenFor(to, [...this.#all(), key])
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
      // The rest is for the next time: it went, or it is full.
    }
    return kept
  }

  /** Fetches what is kept for us anywhere. Never rejects. */
  async fetchAll() {
    await Promise.all(this.#all().map((mailbox) => this.fetch(mailbox)))
  }

  /** Fetches what one keeps for us, if it is a mailbox. Never rejects. */
  async fetch(mailbox: string) {
    if (this.#fetching.has(mailbox) || !this.#all().includes(mailbox)) return
    this.#fetching.add(mailbox)
    try {
      await fetchLetters(await this.#options.open(mailbox), (letter) => this.#take(letter))
    } catch {
      // It is asked again when it is back, and from time to time.
    } finally {
      this.#fetching.delete(mailbox)
    }
  }

  /**
   * Has a mailbox keep a letter, and tells whether it does.
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

  /** @throws what is wrong with the letter */
  async #take(letter: Buffer): Promise<Receipt | null> {
    let told: (receipt: Receipt | null) => void = () => {}
    const tell = (receipt: Receipt) => {
      told(receipt)
      // The mailbox hears of it, and the writer does not.
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

  /** By rendezvous: whoever asks comes to the same ones, and few letters move when one comes or goes. */
  #chosenFor(to: string, mailboxes: readonly string[]): string[] {
    const weight = (mailbox: string) =>
      crypto.hash([Buffer.from(to, 'hex'), Buffer.from(mailbox, 'hex')]).toString('hex')
    return mailboxes
      .filter((mailbox) => mailbox !== to)
      .map((mailbox) => ({ mailbox, weight: weight(mailbox) }))
      .sort((a, b) => (a.weight < b.weight ? 1 : -1))
      .slice(0, COPIES)
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
