import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { KeyPair, toHex } from '../lib/identity.js'

const SHOWN_LENGTH = 4

/**
 * A registry's public key where it is printed as a whole. What is no public key may be the seed, given by mistake, and is
 * not repeated. One seed in sixteen passes for a public key, and is known where its registry was used before; so
 * everywhere else a key is shortened.
 */
export async function wholeKey(registryPublicKey: Buffer): Promise<string> {
  return (await isPublic(registryPublicKey))
    ? toHex(registryPublicKey)
    : shownKey(registryPublicKey)
}

/** The beginning of a registry's public key, enough to see which is meant. */
export async function shownKey(registryPublicKey: Buffer): Promise<string> {
  const beginning = `${toHex(registryPublicKey).slice(0, SHOWN_LENGTH)}…`
  if (await isPublic(registryPublicKey)) return beginning
  return `${beginning}, which is no public key; is it the seed?`
}

/** Shortens words that are long enough to be a key or seed, and so may be a seed in the wrong place. */
export function withoutKeys(text: string): string {
  return text.replaceAll(/(?<![\w/])(\w{4})\w{36,}…?/g, '$1…')
}

async function isPublic(registryPublicKey: Buffer): Promise<boolean> {
  const { isPublicKey } = await import('../lib/public-key.js')
  return isPublicKey(registryPublicKey) && !(await isSeedOfOurs(registryPublicKey))
}

/** Whether this user has a folder of the registry whose seed this would be. */
async function isSeedOfOurs(bytes: Buffer): Promise<boolean> {
  const { userDir } = await import('../lib/folders.js')
  try {
    return existsSync(join(userDir(), toHex(KeyPair(bytes).publicKey)))
  } catch {
    // This user has no folder at all.
    return false
  }
}
