import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'

/** What an instance signs about a browser that it has admitted. */
export interface Ticket {
  session: string
  id: string
  /** The gateway that it is connected to. */
  gateway: string
  /** The data that the service returned for it. Broadcasts are filtered by it. */
  data: unknown
  /** Ms since 1970. */
  expires: number
  /** The hash of a secret. Whoever knows the secret may go on with the session. */
  secretHash: string
  /** The instance that admitted it, in hex. */
  by: string
}

/** The registry and role that a ticket is valid for. */
export interface TicketScope {
  registry: string
  role: string
}

const DOMAIN = 'hyperseaport/channel-ticket/1'
const SECRET_BYTES = 16
const LIFETIME_MS = 7 * 24 * 60 * 60_000
export const MAX_DATA_BYTES = 4096
const MAX_ID_LENGTH = 256

/** Signs a ticket. The secret is for the admitted page alone. */
export function signTicket(
  keyPair: KeyPair,
  scope: TicketScope,
  fields: Pick<Ticket, 'session' | 'id' | 'gateway' | 'data'>
): { ticket: string; secret: string; fields: Ticket } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  const ticket: Ticket = {
    ...fields,
    expires: Date.now() + LIFETIME_MS,
    secretHash: hashOf(secret),
    by: toHex(keyPair.publicKey)
  }
  const bytes = Buffer.from(JSON.stringify(ticket))
  const signature = crypto.sign(signedHash(scope, bytes), keyPair.secretKey)
  const text = `${bytes.toString('base64url')}.${signature.toString('base64url')}`
  return { ticket: text, secret, fields: ticket }
}

/** Reads a ticket without checking its signature, for a gateway that has it from the instance itself. */
export function readTicket(text: string): Ticket {
  try {
    const ticket = JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString())
    if (isTicket(ticket)) return ticket
  } catch {
    // It is no ticket.
  }
  throw SeaportError.BAD_MESSAGE('this is no ticket of a channel')
}

/**
 * Reads a ticket that an instance of the role has signed; null if it is none, or has expired.
 *
 * @param isInstance whether a key, in hex, is or was that of an instance of the role
 */
export function verifyTicket(
  text: string,
  scope: TicketScope,
  isInstance: (key: string) => boolean
): Ticket | null {
  const [body = '', signature = ''] = text.split('.')
  try {
    const ticket = readTicket(text)
    const bytes = Buffer.from(body, 'base64url')
    const hash = signedHash(scope, bytes)
    const isSigned =
      isInstance(ticket.by) &&
      crypto.verify(hash, Buffer.from(signature, 'base64url'), Buffer.from(ticket.by, 'hex'))
    return isSigned && ticket.expires > Date.now() ? ticket : null
  } catch {
    return null
  }
}

export function isSecretOf({ secretHash }: Ticket, secret: string): boolean {
  return timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(secretHash))
}

export function isClientId(id: unknown): id is string {
  return typeof id === 'string' && id.length >= 1 && id.length <= MAX_ID_LENGTH
}

/** @throws USAGE */
export function checkId(id: string): string {
  if (isClientId(id)) return id
  throw SeaportError.USAGE(`a client has an id of 1 to ${MAX_ID_LENGTH} characters`)
}

/** @throws BAD_OUTPUT if the id or the data is not valid */
export function checkAdmitted(id: unknown, data: unknown) {
  if (!isClientId(id)) {
    throw SeaportError.BAD_OUTPUT(`who connects gets an id of 1 to ${MAX_ID_LENGTH} characters`)
  }
  const text = JSON.stringify(data) ?? ''
  if (Buffer.byteLength(text) > MAX_DATA_BYTES) {
    throw SeaportError.BAD_OUTPUT(`the data of who connects has at most ${MAX_DATA_BYTES} bytes`)
  }
}

/**
 * A filter that has more than the data of a client may have matches nobody.
 *
 * @throws USAGE
 */
export function checkFilter(filter: unknown) {
  if (Buffer.byteLength(JSON.stringify(filter) ?? '') <= MAX_DATA_BYTES) return
  throw SeaportError.USAGE(`a filter has at most ${MAX_DATA_BYTES} bytes`)
}

/** Whether the data of a client has all fields of a filter, with the same values. */
export function hasFields(data: unknown, filter: object): boolean {
  if (typeof data !== 'object' || data === null) return false
  const fields = data as Record<string, unknown>
  return Object.entries(filter).every(
    ([name, value]) =>
      Object.hasOwn(fields, name) && JSON.stringify(fields[name]) === JSON.stringify(value)
  )
}

function isTicket(value: unknown): value is Ticket {
  const { session, id, gateway, expires, secretHash, by } = (value ?? {}) as Partial<Ticket>
  const texts = [session, id, gateway, secretHash, by]
  return (
    texts.every((text) => typeof text === 'string') &&
    Number.isSafeInteger(expires) &&
    /^[0-9a-f]{64}$/.test(secretHash ?? '') &&
    /^[0-9a-f]{64}$/.test(by ?? '')
  )
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function signedHash({ registry, role }: TicketScope, bytes: Buffer): Buffer {
  return crypto.hash([Buffer.from(`${DOMAIN}\n${registry}\n${role}\n`), bytes])
}
