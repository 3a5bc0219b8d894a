import { sodium } from './core/holepunch.js'

/**
 * Whether somebody can hold the secret key of 32 bytes. Of random ones, such as seeds are, one in sixteen passes for a
 * public key.
 */
export function isPublicKey(bytes: Buffer): boolean {
  return sodium.crypto_core_ed25519_is_valid_point(bytes)
}
