import type { KeyPair } from '../../core/keys.js'
import { boxKeyOf } from '../../core/sealed-box.js'
import type { Body } from '../body.js'
import { OWN_PREFIX } from '../names.js'
import { encodeLetter, writeLetter } from './letter.js'
import type { Slip } from './letter-box.js'

/** The receiver of a letter: a key, or one instance of a role. */
export type Receiver = { key: string } | { role: string }

/** What is kept of a written letter beside its body. */
export interface OutboxSlip extends Slip {
  receiver: Receiver
  type: string
  sentAt: number
  expiresAt: number
  /** The instance that a letter to a role was sealed to, hex. */
  instance?: string | undefined
  /** The mailboxes that have signed that they keep it, hex. */
  kept?: string[]
  /**
   * Whether it is sealed to the receiver's lasting key, because it could not be opened when it was sealed to a prekey.
   */
  isStatic?: boolean
  /** Whether its body is a receipt for a letter that came to us. */
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

/** Whether it is one of hyperseaport's own letters, of which users are told nothing. */
export function isOwn(slip: OutboxSlip): boolean {
  return slip.isReceipt === true || isCall(slip)
}

/** Who writes to whom, and the receiver's prekey; null if it has none, or could not open what was sealed to it. */
export interface Sealing {
  registry: Buffer
  keyPair: KeyPair
  /** The key of the receiver, hex. */
  to: string
  prekey: string | null
}

/** Seals and signs a letter of the outbox. */
export function sealSlip(
  id: string,
  { type, sentAt, expiresAt, isReceipt, receiver }: OutboxSlip,
  body: Body,
  { to, prekey, ...signer }: Sealing
): Buffer {
  return encodeLetter(
    writeLetter({
      ...signer,
      ...{ id, to, type, body, sentAt, expiresAt, isReceipt },
      isToRole: 'role' in receiver,
      sealTo: prekey ? Buffer.from(prekey, 'hex') : boxKeyOf(Buffer.from(to, 'hex'))
    })
  )
}
