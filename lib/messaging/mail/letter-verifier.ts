import { Verifier } from '../../core/verifier.js'
import { isSignatureValid, type LetterSignature } from './letter.js'

const HASH_BYTES = 32
const SIGNATURE_BYTES = 64
const KEY_BYTES = 32
const PACKED_BYTES = HASH_BYTES + SIGNATURE_BYTES + KEY_BYTES

/** Verifies signatures of letters. */
export function letterVerifier(): Verifier<LetterSignature> {
  return new Verifier({
    thread: new URL('./letter-thread.js', import.meta.url),
    pack: packSignatures,
    verify: isSignatureValid
  })
}

/** Signatures as bytes of their own, since what is sent to a thread takes all of the memory with it that it is part of. */
function packSignatures(signatures: readonly LetterSignature[]): Uint8Array {
  const packed = new Uint8Array(signatures.length * PACKED_BYTES)
  for (const [i, { hash, signature, publicKey }] of signatures.entries()) {
    packed.set(hash, i * PACKED_BYTES)
    packed.set(signature, i * PACKED_BYTES + HASH_BYTES)
    packed.set(publicKey, i * PACKED_BYTES + HASH_BYTES + SIGNATURE_BYTES)
  }
  return packed
}

export function unpackSignatures({ buffer, byteLength }: Uint8Array): LetterSignature[] {
  return Array.from({ length: byteLength / PACKED_BYTES }, (_, i) => {
    const at = i * PACKED_BYTES
    return {
      hash: Buffer.from(buffer, at, HASH_BYTES),
      signature: Buffer.from(buffer, at + HASH_BYTES, SIGNATURE_BYTES),
      publicKey: Buffer.from(buffer, at + HASH_BYTES + SIGNATURE_BYTES, KEY_BYTES)
    }
  })
}
