import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { isObject, signStatement, verifyStatement } from './statement.js'
import { isHex } from './statement-kind.js'

/** A host's word, in the record of an instance, that it runs there as an instance of an app. */
export interface InstanceProof {
  /** The host's public key, hex. */
  host: string
  /** The hash of what runs. */
  release: string
  /** Which of the host's places for this app it has, from 0. */
  slot: number
  /** Ms since 1970, by the host's clock. */
  issuedAt: number
  /** The host's, over all this and the record's registry, key, role and version. */
  signature: string
}

/** What of a record the host signs, too. The role is the name of the app. */
interface Proven {
  registry: string
  key: string
  role: string
  version: string
}

const TYPE = 'hyperseaport/instance/1'
/** Hosts have so many places for one app. */
const MAX_SLOTS = 1000

/** Signs that a key is an instance of an app. */
export function signInstance(
  host: KeyPair,
  { registry, key, role, version }: Proven,
  { release, slot, issuedAt }: Pick<InstanceProof, 'release' | 'slot' | 'issuedAt'>
): InstanceProof {
  const fields = { host: toHex(host.publicKey), release, slot, issuedAt }
  const { signature } = signStatement(
    { ...fields, type: TYPE, registry, key, role, version },
    host.secretKey
  )
  return { ...fields, signature }
}

/** Whether its host has signed it, for this record. Takes about 50 µs. */
export function checkInstanceProof(
  { host, release, slot, issuedAt, signature }: InstanceProof,
  { registry, key, role, version }: Proven
): boolean {
  const fields = { host, release, slot, issuedAt, registry, key, role, version }
  return verifyStatement({ ...fields, type: TYPE, signature }, Buffer.from(host, 'hex'))
}

/** Whether a value from outside looks like one. */
export function isInstanceProof(value: unknown): value is InstanceProof {
  if (!isObject(value)) return false
  const { host, release, slot, issuedAt, signature } = value
  return (
    isHex(host, 32) &&
    isHex(release, 32) &&
    isHex(signature, 64) &&
    Number.isInteger(slot) &&
    (slot as number) >= 0 &&
    (slot as number) < MAX_SLOTS &&
    Number.isSafeInteger(issuedAt)
  )
}
