import { createRequire } from 'node:module'
import { SeaportError } from './errors.js'
import type { KeyPair } from './keys.js'

const require = createRequire(import.meta.url)

/** The part that we call of libsodium. It is loaded when it is first needed, as it takes half as long as all of Node. */
const sodium = () =>
  require('sodium-universal') as {
    crypto_box_keypair(publicKey: Buffer, secretKey: Buffer): void
    crypto_box_seal(sealed: Buffer, message: Buffer, publicKey: Buffer): void
    crypto_box_seal_open(
      message: Buffer,
      sealed: Buffer,
      publicKey: Buffer,
      secretKey: Buffer
    ): boolean
    crypto_sign_ed25519_pk_to_curve25519(out: Buffer, publicKey: Buffer): void
    crypto_sign_ed25519_sk_to_curve25519(out: Buffer, secretKey: Buffer): void
  }

const KEY_BYTES = 32
/** How much longer a sealed message is than what is in it. */
export const SEAL_BYTES = 48

/** A key pair to seal messages to (X25519). */
export interface BoxKeyPair {
  publicKey: Buffer
  secretKey: Buffer
}

/** A fresh one. */
export function boxKeyPair(): BoxKeyPair {
  const pair = { publicKey: Buffer.alloc(KEY_BYTES), secretKey: Buffer.alloc(KEY_BYTES) }
  sodium().crypto_box_keypair(pair.publicKey, pair.secretKey)
  return pair
}

/**
 * The X25519 key to which messages for the owner of an ed25519 key are sealed.
 *
 * @throws BAD_KEY for what is no point of the curve
 */
export function boxKeyOf(publicKey: Buffer): Buffer {
  const key = Buffer.alloc(KEY_BYTES)
  try {
    sodium().crypto_sign_ed25519_pk_to_curve25519(key, publicKey)
  } catch {
    throw SeaportError.BAD_KEY('nothing can be sealed to this key, it is nobody’s public key')
  }
  return key
}

/** The pair that opens what was sealed to the public key of an ed25519 pair. */
export function boxKeyPairOf({ publicKey, secretKey }: KeyPair): BoxKeyPair {
  const secret = Buffer.alloc(KEY_BYTES)
  sodium().crypto_sign_ed25519_sk_to_curve25519(secret, secretKey)
  return { publicKey: boxKeyOf(publicKey), secretKey: secret }
}

/** Seals a message, which only the holder of the secret key can open; who sealed it, it does not say. */
export function seal(message: Buffer, publicKey: Buffer): Buffer {
  const sealed = Buffer.alloc(message.byteLength + SEAL_BYTES)
  sodium().crypto_box_seal(sealed, message, publicKey)
  return sealed
}

/** What was sealed, or null if it was not sealed to this pair. */
export function unseal(sealed: Buffer, { publicKey, secretKey }: BoxKeyPair): Buffer | null {
  if (sealed.byteLength < SEAL_BYTES) return null
  const message = Buffer.alloc(sealed.byteLength - SEAL_BYTES)
  return sodium().crypto_box_seal_open(message, sealed, publicKey, secretKey) ? message : null
}
