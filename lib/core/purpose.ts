import { SeaportError } from './errors.js'

/** The purpose of a stream that carries bytes for a service's backend. */
export const BYTES = ''
/** The purpose of a stream that carries one letter. */
export const MAIL = 'hyperseaport/mail/1'
/** The purpose of a stream on which a newcomer takes over what an instance does and has. */
export const TAKEOVER = 'hyperseaport/takeover/1'
/** The purpose of a stream to who keeps letters for others. */
export const MAILBOX = 'hyperseaport/mailbox/1'
/** The purpose of a stream on which a gateway brings its browsers to an instance. */
export const CHANNEL = 'hyperseaport/channel/1'
export const MAX_PURPOSE_LENGTH = 64
/** As many as one process says that it speaks. */
export const MAX_PURPOSES = 16
/** What an instance speaks that says nothing about it. */
export const ONLY_BYTES: readonly string[] = Object.freeze([BYTES])

/** Whether a text is what a stream may be opened for, as in `hyperseaport/commands/1`. */
export function isPurpose(text: unknown): text is string {
  return (
    typeof text === 'string' && text.length <= MAX_PURPOSE_LENGTH && /^[A-Za-z0-9._/-]*$/.test(text)
  )
}

/** Whether a value is a list of purposes that may stand in a record or a handshake. */
export function arePurposes(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= MAX_PURPOSES && value.every(isPurpose)
}

/** Whether a list says what is understood without it. */
export function isOnlyBytes(purposes: readonly string[]): boolean {
  return purposes.length === 1 && purposes[0] === BYTES
}

/** @throws USAGE */
export function checkPurpose(text: string): string {
  if (isPurpose(text)) return text
  throw SeaportError.USAGE(
    `a purpose has at most ${MAX_PURPOSE_LENGTH} characters of A-Z, a-z, 0-9 and ._/-, not ${JSON.stringify(text)}`
  )
}
