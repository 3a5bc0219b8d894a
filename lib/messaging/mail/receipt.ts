import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'

/** A signed statement of what became of a letter. */
export interface Receipt {
  /** The id of the letter, hex. */
  id: string
  /** The key that signed it, hex: the letter's receiver, or a mailbox. */
  from: string
  /** The letter's writer, hex. */
  to: string
  status: ReceiptStatus
  /** Why it was refused; '' otherwise. */
  code: string
  /** In ms since 1970. */
  at: number
  signature: Buffer
}

/** `queued` says that a mailbox keeps the letter. The others are final, and signed by the receiver. */
export type ReceiptStatus = 'queued' | 'delivered' | 'refused'

const STATUSES: readonly ReceiptStatus[] = ['queued', 'delivered', 'refused']
const VERSION = 1
const FIXED_BYTES = 2 + 32 * 3 + 6 + 1
const SIGNATURE_BYTES = 64
const MAX_CODE_LENGTH = 40
export const MAX_RECEIPT_BYTES = FIXED_BYTES + MAX_CODE_LENGTH + SIGNATURE_BYTES
const DOMAIN = Buffer.from('hyperseaport/receipt/1')
const CODE = /^([A-Z][A-Z_]{1,39})?$/

/** Signs what became of a letter. */
export function signReceipt(
  registry: Buffer,
  keyPair: KeyPair,
  fields: Omit<Receipt, 'from' | 'signature'>
): Receipt {
  const unsigned = { ...fields, from: toHex(keyPair.publicKey) }
  return { ...unsigned, signature: crypto.sign(signedHash(registry, unsigned), keyPair.secretKey) }
}

/** Whether its named signer has signed it, for this registry. */
export function isReceiptSigned(registry: Buffer, receipt: Receipt): boolean {
  const { from, signature } = receipt
  return crypto.verify(signedHash(registry, receipt), signature, Buffer.from(from, 'hex'))
}

export function encodeReceipt(receipt: Receipt): Buffer {
  return Buffer.concat([encodeFields(receipt), receipt.signature])
}

/**
 * Reads a receipt. Checks its form, and not its signature.
 *
 * @throws BAD_MESSAGE
 */
export function decodeReceipt(bytes: Buffer): Receipt {
  const codeLength = bytes.byteLength - FIXED_BYTES - SIGNATURE_BYTES
  const status = STATUSES[bytes[1] ?? STATUSES.length]
  if (bytes[0] !== VERSION || !status || codeLength < 0 || codeLength > MAX_CODE_LENGTH) {
    throw SeaportError.BAD_MESSAGE('this is no receipt')
  }
  const code = bytes.toString('latin1', FIXED_BYTES, FIXED_BYTES + codeLength)
  if (bytes[FIXED_BYTES - 1] !== codeLength || !CODE.test(code)) {
    throw SeaportError.BAD_MESSAGE('a receipt with a code that is none')
  }
  return {
    status,
    id: bytes.toString('hex', 2, 34),
    from: bytes.toString('hex', 34, 66),
    to: bytes.toString('hex', 66, 98),
    at: bytes.readUIntLE(98, 6),
    code,
    signature: Buffer.from(bytes.subarray(-SIGNATURE_BYTES))
  }
}

function signedHash(registry: Buffer, receipt: Omit<Receipt, 'signature'>): Buffer {
  return crypto.hash([DOMAIN, registry, encodeFields(receipt)])
}

function encodeFields({ id, from, to, status, code, at }: Omit<Receipt, 'signature'>): Buffer {
  const fields = Buffer.alloc(FIXED_BYTES)
  fields[0] = VERSION
  fields[1] = STATUSES.indexOf(status)
  fields.write(id + from + to, 2, 'hex')
  fields.writeUIntLE(at, 98, 6)
  fields[FIXED_BYTES - 1] = code.length
  return Buffer.concat([fields, Buffer.from(code, 'latin1')])
}
