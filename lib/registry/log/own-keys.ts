import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { KeyPair, randomSeed, toHex } from '../../core/keys.js'
import { defaultDir, makeFolder, PRIVATE_FILE, registryDir } from './data-folder.js'

/** The file name of the process key. */
export const PROCESS_KEY = 'process'
const FILE_NAME_LENGTH = 32

/** A service as its key is kept for it: the same role and backend have the same key after a restart. */
export interface ServiceIdentity {
  role: string
  version: string
  /** `host:port`, or what else stands behind it. */
  backend: string
}

/**
 * The process key of a registry's members: what a consumer dials with, and what is granted to it. One
 * for all that a user runs, whatever the verb: who was granted `couchdb@3.x` expects that of `proxy`,
 * `list` and `web` alike. A folder that was chosen has one of its own, so that two parties on one
 * machine can be told apart.
 *
 * @throws STORAGE_FAILED
 */
export function keepProcessKey(registry: Buffer, dir?: string): Promise<KeyPair> {
  return keepKeyPair(dir ?? registryDir(registry), PROCESS_KEY)
}

/**
 * The key of a service that was not given a seed.
 *
 * @throws STORAGE_FAILED
 */
export function keepServiceKey(
  registry: Buffer,
  { role, version, backend }: ServiceIdentity,
  dir?: string
): Promise<KeyPair> {
  const name = createHash('sha256').update(`${role}@${version} ${backend}`).digest('hex')
  return keepKeyPair(dir ?? defaultDir(registry, 'service'), name.slice(0, FILE_NAME_LENGTH))
}

/**
 * The key pair that a folder keeps under a name, made on first use.
 *
 * @throws STORAGE_FAILED
 */
export async function keepKeyPair(dir: string, name: string): Promise<KeyPair> {
  const file = join(dir, 'keys', name)
  try {
    await makeFolder(join(dir, 'keys'))
    await writeFile(file, `${toHex(randomSeed())}\n`, { mode: PRIVATE_FILE, flag: 'wx' })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw SeaportError.STORAGE_FAILED(
        `no key can be kept in ${dir} (${(cause as Error).message}), choose another folder with --dir`,
        cause
      )
    }
  }
  return KeyPair(await readFile(file, 'utf8'))
}
