import { crypto } from '../../core/holepunch.js'
import { toHex } from '../../core/keys.js'
import { isObject } from '../trust/statement.js'
import { isHex } from '../trust/statement-kind.js'
import { VerifiedOnce } from '../trust/verified-once.js'
import { type Hypercore, keyOfSigner, signedTreeOf, treeSignable } from './hypercore.js'

/**
 * How far a log went, signed by the log's own key as Hypercore signs each batch. Whoever copied the log has it and can
 * show it; nobody else can make one. Hex, but for the numbers.
 */
export interface Head {
  fork: number
  /** Blocks. */
  length: number
  /** Of the tree over all blocks. */
  hash: string
  signature: string
  /** The key that signed it. The log's key is a hash over it. */
  signer: string
}

/** Peers show the same few heads again and again. */
const VERIFIED = new VerifiedOnce()

/** The newest head of a copy, or of our own log; null if it has no block. */
export function headOf(core: Hypercore): Head | null {
  const tree = signedTreeOf(core)
  if (!tree) return null
  const { fork, length, hash, signature, signer } = tree
  return { fork, length, hash: toHex(hash), signature: toHex(signature), signer: toHex(signer) }
}

/** Reads a head from outside. Null if it is none, or if the log's key did not sign it. */
export function checkHead(value: unknown, logKey: string): Head | null {
  if (!isObject(value)) return null
  const { fork, length, hash, signature, signer } = value
  if (!isCount(fork) || !isCount(length) || length === 0) return null
  if (!isHex(hash, 32) || !isHex(signature, 64) || !isHex(signer, 32)) return null
  const head: Head = { fork, length, hash, signature, signer }
  const holds = VERIFIED.holds(`${logKey}${JSON.stringify(head)}`, () => isSigned(head, logKey))
  return holds ? head : null
}

function isSigned({ fork, length, hash, signature, signer }: Head, logKey: string): boolean {
  const publicKey = Buffer.from(signer, 'hex')
  const key = Buffer.from(logKey, 'hex')
  if (!keyOfSigner(publicKey).equals(key)) return false
  const signable = treeSignable(key, Buffer.from(hash, 'hex'), length, fork)
  return crypto.verify(signable, Buffer.from(signature, 'hex'), publicKey)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
