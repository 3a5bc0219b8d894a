import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { SeaportError } from './errors.js'

/** An ed25519 key pair made from a 32 byte seed. */
export interface KeyPair {
  /** 32 bytes. Others may know it. */
  publicKey: Buffer
  /** 64 bytes: the seed, and the public key after it. Nobody else may know it. */
  secretKey: Buffer
}

const KEY_BYTES = 32
/** The seed, and the public key after it. */
const SECRET_KEY_BYTES = 64
/** z-base-32: each character is five bits, its place here. */
const Z32_ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'

/**
 * Makes the key pair of a seed, or of a fresh random seed: the same as HyperDHT's, which is libsodium's
 * `crypto_sign_seed_keypair`. Node's own crypto makes it, because to load libsodium takes half as long as
 * Node itself, and the verbs that make and show keys need nothing else of it.
 *
 * @param seed 32 bytes, or their hex or z-base-32
 * @throws BAD_KEY if the seed is not that
 */
export function KeyPair(seed: Buffer | string = randomSeed()): KeyPair {
  const secret = parseKey(seed, 'seed')
  // A JSON Web Key (RFC 8037) is read ten times as fast as DER. Its `x` is not looked at where `d` is given.
  const jwk = { kty: 'OKP', crv: 'Ed25519', d: secret.toString('base64url'), x: '' }
  const { x } = createPublicKey(createPrivateKey({ key: jwk, format: 'jwk' })).export({
    format: 'jwk'
  })
  const publicKey = Buffer.from(x ?? '', 'base64url')
  return { publicKey, secretKey: Buffer.concat([secret, publicKey]) }
}

/**
 * Returns what is a key pair indeed. The secret key is never repeated in the error.
 *
 * @throws BAD_KEY
 */
export function checkKeyPair(keyPair: KeyPair): KeyPair {
  const { publicKey, secretKey } = (keyPair ?? {}) as Partial<KeyPair>
  const isWhole = publicKey?.byteLength === KEY_BYTES && secretKey?.byteLength === SECRET_KEY_BYTES
  if (isWhole && Buffer.compare(secretKey.subarray(KEY_BYTES), publicKey) === 0) return keyPair
  throw SeaportError.BAD_KEY('this is no key pair, KeyPair(seed) makes one')
}

/** 32 random bytes. */
export function randomSeed(): Buffer {
  return randomBytes(KEY_BYTES)
}

/**
 * Reads a 32 byte key or seed from hex (64 characters) or z-base-32 (52 characters). A seed is never
 * repeated in the error.
 *
 * @param what how the error calls it
 * @throws BAD_KEY
 */
export function parseKey(key: Buffer | Uint8Array | string, what = 'key'): Buffer {
  if (typeof key !== 'string') {
    if (key instanceof Uint8Array && key.byteLength === KEY_BYTES) return Buffer.from(key)
    throw SeaportError.BAD_KEY(`the ${what} must have ${KEY_BYTES} bytes`)
  }
  const text = key.trim()
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  if (/^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$/i.test(text)) return readZ32(text.toLowerCase())
  throw SeaportError.BAD_KEY(
    `the ${what} must be 64 characters of hex or 52 of z-base-32, this has ${text.length} characters`
  )
}

/** A key as people see it. */
export function toHex(key: Uint8Array): string {
  const bytes =
    key instanceof Buffer ? key : Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return bytes.toString('hex')
}

/** Reads a key's 256 bits from 52 characters of z-base-32, which hold four bits more. */
function readZ32(text: string): Buffer {
  const bits = Array.from(text, (char) => Z32_ALPHABET.indexOf(char).toString(2).padStart(5, '0'))
  const bytes = bits.join('').match(/.{8}/g) ?? []
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)))
}

/** Which registry is meant, by its seed or its public key. */
export interface RegistryKeys {
  /** Its public key. */
  registry: Buffer
  /** Where the seed was given. */
  keyPair: KeyPair | undefined
}

/**
 * Reads whichever of the two a user gave.
 *
 * @throws BAD_KEY, USAGE if neither was given
 */
export function registryKeysOf(
  seed: Buffer | string | undefined,
  registryPublicKey: Buffer | string | undefined
): RegistryKeys {
  if (seed !== undefined) {
    const keyPair = KeyPair(parseKey(seed, 'registry seed'))
    return { registry: keyPair.publicKey, keyPair }
  }
  if (registryPublicKey === undefined) {
    throw SeaportError.USAGE('which registry? Give its seed, or its public key')
  }
  return { registry: parseKey(registryPublicKey, 'registry public key'), keyPair: undefined }
}
