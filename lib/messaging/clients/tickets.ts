import { type KeyPair, toHex } from '../../core/keys.js'
import { signTicket, type Ticket, type TicketScope, verifyTicket } from './ticket.js'

export interface TicketsOptions {
  scope: TicketScope
  /** Whether a key, in hex, is or was that of an instance of the role. */
  isInstance: (key: string) => boolean
}

/** How many tickets are known by heart. */
const MAX_KNOWN = 20_000

/**
 * The tickets of an instance. Pages show theirs each time that they come back, all at once when a gateway was lost, so
 * the signature of each is verified once, and of those that were signed here never.
 */
export class Tickets {
  readonly #options: TicketsOptions
  readonly #known = new Map<string, Ticket>()
  #keyPair: KeyPair | null = null
  #own = ''

  constructor(options: TicketsOptions) {
    this.#options = options
  }

  /** The key that signs, in hex; '' before it is there. */
  get own(): string {
    return this.#own
  }

  signBy(keyPair: KeyPair) {
    this.#keyPair = keyPair
    this.#own = toHex(keyPair.publicKey)
  }

  /** @param before the ticket that this one replaces */
  sign(
    fields: Parameters<typeof signTicket>[2],
    before?: string
  ): { ticket: string; secret: string } {
    const signed = signTicket(this.#keyPair as KeyPair, this.#options.scope, fields)
    if (before !== undefined) this.#known.delete(before)
    this.#know(signed.ticket, signed.fields)
    return signed
  }

  /** Reads a ticket that an instance of the role has signed; null if it is none, or has expired. */
  verify(text: string): Ticket | null {
    const known = this.#known.get(text)
    const isInstance = (key: string) => key === this.#own || this.#options.isInstance(key)
    if (known) return known.expires > Date.now() && isInstance(known.by) ? known : null
    const ticket = verifyTicket(text, this.#options.scope, isInstance)
    if (ticket) this.#know(text, ticket)
    return ticket
  }

  #know(text: string, ticket: Ticket) {
    this.#known.set(text, ticket)
    const [oldest] = this.#known.keys()
    if (oldest !== undefined && this.#known.size > MAX_KNOWN) this.#known.delete(oldest)
  }
}
