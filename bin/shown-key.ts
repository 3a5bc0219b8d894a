import { toHex } from '../lib/identity.js'

const SHOWN_LENGTH = 4

/** A registry's public key, as it may be printed. What is none may be the seed, given by mistake, and is not repeated. */
export async function shownKey(registryPublicKey: Buffer): Promise<string> {
  const { isPublicKey } = await import('../lib/public-key.js')
  const hex = toHex(registryPublicKey)
  if (isPublicKey(registryPublicKey)) return hex
  return `${hex.slice(0, SHOWN_LENGTH)}…, which is no public key; is it the seed?`
}
