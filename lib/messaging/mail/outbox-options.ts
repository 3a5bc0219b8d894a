import type { SeaportErrorCode } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import type { LetterBox } from './letter-box.js'
import type { OutboxSlip } from './outbox-slip.js'
import type { Receipt } from './receipt.js'

/** What an outbox is told, and what it asks others for. */
export interface OutboxOptions {
  registry: Buffer
  keyPair: KeyPair
  box: LetterBox<OutboxSlip>
  /** The prekey of a key, hex; null if its record has none. */
  prekeyOf: (key: string) => string | null
  /** The instances of a role that take letters, hex. */
  instances: (role: string) => readonly string[]
  /**
   * Brings a letter to a key, in hex.
   *
   * @returns the receipt, or null if it was taken and has none yet
   */
  deliver: (
    to: string,
    letter: Buffer,
    onreceipt: (receipt: Receipt) => void
  ) => Promise<Receipt | null>
  /**
   * Asks mailboxes to keep a letter until its receiver is there. Never rejects.
   *
   * @param seal seals it, once it is known to what
   * @returns the code of why the last one did not; '' if all have kept it
   */
  keep?:
    | ((id: string, to: string, seal: () => Buffer) => Promise<SeaportErrorCode | ''>)
    | undefined
  /** Whether a key is away, as far as is known. */
  isAway?: ((key: string) => boolean) | undefined
  /** Whether it is known who is there. Until then nobody is told that somebody is away. */
  isSynced?: (() => boolean) | undefined
  now: () => number
  ttl?: number | undefined
  /** Waits before a letter that was not delivered is tried again, in ms. The last one repeats. */
  backoffs?: readonly number[] | undefined
  random?: () => number
}
