import { SeaportError } from './errors.js'
import { parseRolePattern } from './role-pattern.js'

/** Asks whether a key may call any command at all. No command has this name. */
export const ANY_COMMAND = '*'
/** What is hyperseaport's own is named like this, and is covered by no asterisk. */
const OWN_PREFIX = '$'
/** What nobody may who was not granted just that: to reach a gateway's clients, and to control hosts. */
const NEVER_IMPLIED = /^\$(clients$|host)/
const NAME = /^(\*|\$?[A-Za-z0-9._:-]{1,64})$/

/** Commands that somebody may call: `agent@1.x#fetch`, `agent#*` for all but hyperseaport's own, `*#$events`. */
export interface CallPattern {
  has(role: string, version: string, command: string): boolean
}

/** @throws BAD_ROLE */
export function parseCallPattern(text: string): CallPattern {
  const at = text.lastIndexOf('#')
  const name = text.slice(at + 1)
  if (at < 0 || !NAME.test(name)) {
    throw SeaportError.BAD_ROLE(
      `what may be called is a role and a command, as in agent@1.x#fetch or agent#*, not ${JSON.stringify(text)}`
    )
  }
  const roles = parseRolePattern(text.slice(0, at))
  const hasCommand = (command: string) =>
    command === name || command === ANY_COMMAND || (name === '*' && !command.startsWith(OWN_PREFIX))
  return {
    has: (role, version, command) => hasCommand(command) && roles.has(role, version)
  }
}

/** Whether who may consume a role may call a command of it. */
export function isImpliedByConsume(command: string): boolean {
  return !NEVER_IMPLIED.test(command)
}
