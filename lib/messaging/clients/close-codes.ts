import { SeaportError } from '../../core/errors.js'

/** A client was sent away, and the service gave no code of its own. */
export const SENT_AWAY = 4000
/** The session goes on by another connection. */
export const REPLACED = 4009
/** The codes below are the gateway's own, and some of them tell a page to come back. */
const FIRST_OF_SERVICE = 4100
const LAST_OF_SERVICE = 4999

/** Whether a page's connection may be closed with this code because its service wishes so. It does not come back then. */
export function isFinalCode(code: number): boolean {
  if (code === SENT_AWAY || code === REPLACED) return true
  return Number.isInteger(code) && code >= FIRST_OF_SERVICE && code <= LAST_OF_SERVICE
}

/** @throws USAGE */
export function checkFinalCode(code: number): number {
  if (isFinalCode(code)) return code
  throw SeaportError.USAGE(
    `a client is sent away with ${SENT_AWAY}, or with a code from ${FIRST_OF_SERVICE} to ${LAST_OF_SERVICE}, not ${code}`
  )
}
