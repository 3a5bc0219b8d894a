import { SeaportError } from '../core/errors.js'
import { BYTES, CHANNEL, MAIL, MAILBOX, TAKEOVER } from '../core/purpose.js'
import type { ServiceRole } from '../core/role.js'
import type { Participant } from '../registry/replica/participant.js'
import { withAdvice } from '../registry/swarm/denial.js'

export interface AdmissionOptions {
  grants: Participant['membership']['grants']
  /** What is served. */
  role: ServiceRole
  /** The only keys that may come, in hex. Default: all. */
  allow?: readonly string[] | undefined
}

/** Stands for every command in a right to call. */
const ANY_COMMAND = '*'

/** The right to bring browsers to a service. Nothing implies it: not every consumer may pose as a gateway. */
const CLIENTS_RIGHT = '$clients'

/** Decides who may open streams to a service, and have commands executed. Keys are hex. */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #allow: ReadonlySet<string> | null

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#allow = options.allow ? new Set(options.allow) : null
  }

  /** Whether a key may open streams of a purpose; an error says why not. */
  authorize(consumer: string, purpose: string): boolean | SeaportError {
    if (purpose === TAKEOVER) return this.#denialOfTakeOver(consumer) ?? true
    if (this.#allow && !this.#allow.has(consumer)) return false
    if (purpose === CHANNEL) return this.denialOfCommand(consumer, CLIENTS_RIGHT) ?? true
    if (purpose === MAIL || purpose === MAILBOX) return this.#denialOfMail(consumer) ?? true
    if (purpose !== BYTES) return this.#denialOfTalk(consumer) ?? true
    const { grants, role } = this.#options
    if (grants.allows(consumer, { kind: 'consume', ...role })) return true
    return this.#denial(consumer, 'consume', textOf(role))
  }

  /** Why a key may not have a command executed, or null if it may. */
  denialOfCommand(consumer: string, command: string): SeaportError | null {
    const { grants, role } = this.#options
    if (grants.allows(consumer, { kind: 'call', ...role, command })) return null
    return this.#denial(consumer, 'call', `${textOf(role)}#${command}`)
  }

  /** Whoever may execute any command at all may open a conversation. Each command is then checked by itself. */
  #denialOfTalk(consumer: string): SeaportError | null {
    const { grants, role } = this.#options
    if (grants.allows(consumer, { kind: 'call', ...role, command: ANY_COMMAND })) return null
    return this.#denial(consumer, 'consume', textOf(role))
  }

  /** Whoever has any grant may open a stream for letters. Each letter is then checked by itself. */
  #denialOfMail(consumer: string): SeaportError | null {
    const { grants } = this.#options
    if (grants.allows(consumer, { kind: 'read' })) return null
    if (grants.isPrivate === null) return unheardOf()
    return SeaportError.NOT_GRANTED(
      `this registry is private, and ${consumer} has no grant, so it may not write letters`
    )
  }

  /**
   * A newcomer may have a key without a grant, so it is let in here, and shows on the stream by whose word it takes
   * over. A key whose grants have ended is refused.
   */
  #denialOfTakeOver(consumer: string): SeaportError | null {
    const { grants } = this.#options
    const isKnown = grants.statementsAbout(consumer).length > 0
    return isKnown && !grants.allows(consumer, { kind: 'read' })
      ? SeaportError.NOT_GRANTED(`this registry is private, and ${consumer} is not let in any more`)
      : null
  }

  #denial(consumer: string, right: 'consume' | 'call', what: string): SeaportError {
    if (this.#options.grants.isPrivate === null) return unheardOf()
    const denial = SeaportError.NOT_GRANTED(
      `this registry is private, and ${consumer} may not ${right} ${what}`
    )
    return withAdvice(denial, { key: Buffer.from(consumer, 'hex'), [right]: [what] })
  }
}

function textOf({ role, version }: ServiceRole): string {
  return `${role}@${version}`
}

/**
 * The error for everybody as long as it is not known whether the registry is private. Consumers try another instance,
 * and may come again.
 */
function unheardOf(): SeaportError {
  return SeaportError.REGISTRY_NOT_FOUND(
    'the service has not heard of its registry yet, which says who may connect; try again in a moment'
  )
}
