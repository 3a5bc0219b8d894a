import { OWN_PREFIX } from '../names.js'
import type { Slip } from './letter-box.js'

/** To whom a letter is: one key, or one instance of a role. */
export type Receiver = { key: string } | { role: string }

/** What is kept of a letter that was written beside its body. */
export interface OutboxSlip extends Slip {
  receiver: Receiver
  type: string
  sentAt: number
  expiresAt: number
  /** Of a letter to a role: the instance that it was sealed to, hex. */
  instance?: string | undefined
  /** Mailboxes that have signed that they keep it, hex. */
  kept?: string[]
  /** Whether the receiver could not open it sealed to a prekey. */
  isStatic?: boolean
  /** Whether it is a receipt for a letter that came to us. */
  isReceipt?: boolean
}

/** The key or role that a letter goes to, as a text. */
export function targetOf(receiver: Receiver): string {
  return 'key' in receiver ? receiver.key : receiver.role
}

/** Whether it carries a command or its answer. */
export function isCall({ type }: OutboxSlip): boolean {
  return type.startsWith(OWN_PREFIX)
}

/** Whether it is hyperseaport's own, of which users are told nothing. */
export function isOwn(slip: OutboxSlip): boolean {
  return slip.isReceipt === true || isCall(slip)
}
