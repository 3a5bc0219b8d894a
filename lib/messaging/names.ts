import { SeaportError } from '../core/errors.js'

/** Names of commands and types of events that begin like this are hyperseaport's own. */
export const OWN_PREFIX = '$'
export const MAX_NAME_LENGTH = 64
/**
 * The type of the events that tell changes of a state, and the name of the command that reads it. Whoever may call the
 * command may hear the events.
 */
export const STATE = '$state'
/** The type of the event that tells all listeners which instance has taken over. */
export const MOVED = '$moved'
/** The command that writes a state. */
export const SET_STATE = '$set'
const NAME = /^\$?[A-Za-z0-9._:-]{1,64}$/

/** Whether a text can be the name of a command or the type of an event. */
export function isName(text: unknown): text is string {
  return typeof text === 'string' && text.length <= MAX_NAME_LENGTH && NAME.test(text)
}

/**
 * Checks a name that a service may choose.
 *
 * @throws USAGE
 */
export function checkOwnName(text: string, what: string): string {
  if (checkName(text, what).startsWith(OWN_PREFIX)) {
    throw SeaportError.USAGE(
      `the name of ${what} cannot begin with ${OWN_PREFIX}, which is kept for hyperseaport's own`
    )
  }
  return text
}

/** @throws USAGE */
export function checkName(text: string, what: string): string {
  if (isName(text)) return text
  throw SeaportError.USAGE(
    `the name of ${what} has 1 to ${MAX_NAME_LENGTH} characters of A-Z, a-z, 0-9 and . _ : -, not ${JSON.stringify(text)}`
  )
}
