import type { SeaportError } from '../../core/errors.js'
import type { DirectReach } from '../../link/direct/address.js'
import type { Participant } from '../../registry/replica/participant.js'
import type { BoxLimits } from './letter-box.js'
import type { OnCall } from './mail-calls.js'

export interface MailOptions {
  /** The keys and roles that may write, and no others. Default: all; in a private registry all that have a grant. */
  accept?: readonly (Buffer | string)[] | undefined
  /** The time after which letters expire by default, in ms. Default: 7 days; 30 at most. */
  ttl?: number | undefined
  /** How much the outbox may hold. Default: 10 000 letters or 256 MiB. */
  outbox?: Partial<BoxLimits> | undefined
  /** How much the inbox may hold. Default: 10 000 letters or 256 MiB. */
  inbox?: Partial<BoxLimits> | undefined
  /** How much is kept for receivers that are away, in bytes. Default: nothing. */
  store?: number | undefined
  /** How many hops others may pass our letters on. Default: 4; 8 at most, and 0 for none. */
  hops?: number | undefined
  /** Whether links to receivers are made. If not, letters only go by way of others. Default: true. */
  links?: boolean | undefined
  /** How long after mailboxes came or went letters are handed over between them, in ms. Default: 10 s. */
  handover?: number | undefined
  /** Waits before a letter that was not delivered is tried again, in ms. The last one repeats. */
  backoffs?: readonly number[] | undefined
  /** Waits before a letter whose handler threw is handed over again, in ms. Default: four of them, from 1 s to 60 s. */
  retries?: readonly number[] | undefined
}

export interface MailParts extends MailOptions {
  /** Whether letters between others are passed on. Default: true. */
  forward?: boolean | undefined
  /** Which addresses of receivers may be connected to by TCP. */
  direct?: DirectReach | undefined
  participant: Participant
  /** The folder of the process's data. Default: the user's, by registry and verb. */
  dir: string | undefined
  verb: string
  /** Executes commands that come as letters. */
  oncall?: OnCall | undefined
  onnotice: (notice: SeaportError) => void
  /** Called when mail is first used. */
  onwanted: () => void
  /** Called when our record is to say something else of mail from now on. */
  onrecord: () => void
}
