import { crypto } from '../../core/holepunch.js'
import { MAILBOX } from '../../core/purpose.js'
import type { LinkStream } from '../../link/stream.js'
import type { Directory } from '../../registry/replica/directory.js'
import type { Inbox } from './inbox.js'
import { decodeLetter } from './letter.js'
import { fetchLetters, keepLetter, recallLetter } from './mailbox-stream.js'
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
    const wanted = this.#chosenFor(to).filter((mailbox) => !kept.includes(mailbox))
    // One after the other, as each is written down with the letter.
    for (const mailbox of wanted) {
      try {
        await outbox().takeKept(await keepLetter(await open(mailbox), letter), mailbox)
      } catch {
        // It is tried again when the letter is.
      }
    }
  }

  /** Takes a letter back from who keeps it. Never rejects. */
  async recall(id: string, mailboxes: readonly string[]) {
    const recalls = mailboxes.map(async (mailbox) => {
      recallLetter(await this.#options.open(mailbox), id)
    })
    await Promise.allSettled(recalls)
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

  /** @throws what is wrong with the letter */
  async #take(letter: Buffer): Promise<Receipt | null> {
    let told: (receipt: Receipt | null) => void = () => {}
    const later = new Promise<Receipt | null>((resolve) => {
      told = resolve
    })
    const receipt = await this.#options.inbox().receive(letter, told)
    if (receipt) return receipt
    const timer = setTimeout(() => told(null), HANDLING_MS)
    timer.unref()
    return later.finally(() => clearTimeout(timer))
  }

  /** By rendezvous: whoever asks comes to the same ones, and few letters move when one comes or goes. */
  #chosenFor(to: string): string[] {
    const weight = (mailbox: string) =>
      crypto.hash([Buffer.from(to, 'hex'), Buffer.from(mailbox, 'hex')]).toString('hex')
    return this.#all()
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
