import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { KeyPair, randomSeed, toHex } from '../../core/keys.js'
import { defaultDir, makeFolder, PRIVATE_FILE, registryDir } from './data-folder.js'
import { FileLock } from './file-lock.js'

export { StateFiles } from './state-files.js'

/** The file name of the process key. */
export const PROCESS_KEY = 'process'
const FOLDER = 'keys'
const FILE_NAME_LENGTH = 32
/** Slots that are tried in turn. Each is one more instance of a role on one target, by one user, on one machine. */
const MAX_SLOTS = 1024
const SLOT_NAME = /^[\w.-]{1,64}$/

/** What a service's key is kept for. */
export interface ServiceIdentity {
  role: string
  /** Of no account, except that it finds a key which an older build kept per version. */
  version: string
  /** `host:port`, or what else stands behind it. */
  backend: string
  /** The slot. Default: the first free one of `1`, `2`, … */
  name?: string | undefined
}

/** A service's key, which no other process that uses this folder has for as long as it is held. */
export interface HeldKey {
  readonly keyPair: KeyPair
  /** Lets another process have it. */
  release(): void
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
  return withKeys(dir ?? registryDir(registry), (folder) => {
    const file = join(folder, PROCESS_KEY)
    if (existsSync(file)) return readKey(file)
    const lock = FileLock.take(`${file}.lock`)
    try {
      return keepKey(file)
    } finally {
      lock.release()
    }
  })
}

/**
 * Takes the key of a service that was not given a seed. It is kept by folder, role, backend and slot, and not
 * by version, so that grants survive an upgrade. Several instances have a slot each: whoever comes takes the
 * first that no running process holds, or the one that it names.
 *
 * @throws KEY_IN_USE if a running process holds the named slot, LIMIT_REACHED, STORAGE_FAILED, USAGE
 */
export async function takeServiceKey(
  registry: Buffer,
  identity: ServiceIdentity,
  dir?: string
): Promise<HeldKey> {
  const { role, name } = identity
  if (name !== undefined) checkSlotName(name)
  return withKeys(dir ?? defaultDir(registry, 'service'), (folder) => {
    for (const slot of name === undefined ? numberedSlots() : [name]) {
      const file = join(folder, slotFile(identity, slot))
      const lock = FileLock.tryTake(`${file}.lock`)
      if (!lock) continue
      try {
        const keyPair = keepKey(file, join(folder, versionedFile(identity)))
        return { keyPair, release: () => lock.release() }
      } catch (error) {
        lock.release()
        throw error
      }
    }
    if (name === undefined) {
      throw SeaportError.LIMIT_REACHED(
        `${MAX_SLOTS} instances of ${role} run on this machine already; give this one a folder of its own (--dir)`
      )
    }
    throw SeaportError.KEY_IN_USE(
      `a running process serves ${role} under the name ${name} already; stop it, or choose another --name`
    )
  })
}

/**
 * The key that `takeServiceKey` would take now, and those of the numbered slots before it, which running
 * processes hold.
 *
 * @throws KEY_IN_USE, LIMIT_REACHED, STORAGE_FAILED, USAGE
 */
export async function nextServiceKey(
  registry: Buffer,
  identity: ServiceIdentity,
  dir?: string
): Promise<{ next: KeyPair; held: KeyPair[] }> {
  const { keyPair: next, release } = await takeServiceKey(registry, identity, dir)
  release()
  const folder = join(dir ?? defaultDir(registry, 'service'), FOLDER)
  const held: KeyPair[] = []
  if (identity.name !== undefined) return { next, held }
  for (const slot of numberedSlots()) {
    const file = join(folder, slotFile(identity, slot))
    if (!existsSync(file)) continue
    const keyPair = readKey(file)
    if (keyPair.publicKey.equals(next.publicKey)) break
    held.push(keyPair)
  }
  return { next, held }
}

/** @throws USAGE */
export function checkSlotName(name: string): string {
  if (typeof name === 'string' && SLOT_NAME.test(name)) return name
  throw SeaportError.USAGE(
    `the name of an instance is up to 64 letters, digits, dots, dashes and underscores, not ${JSON.stringify(name)}`
  )
}

function* numberedSlots(): Iterable<string> {
  for (let slot = 1; slot <= MAX_SLOTS; slot++) yield String(slot)
}

function slotFile({ role, backend }: ServiceIdentity, slot: string): string {
  return fileName(`${role} ${backend} ${slot}`)
}

/** What builds before 0.2 called the file of a service's key. */
function versionedFile({ role, version, backend }: ServiceIdentity): string {
  return fileName(`${role}@${version} ${backend}`)
}

function fileName(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, FILE_NAME_LENGTH)
}

/** @throws STORAGE_FAILED in place of errors of the file system */
async function withKeys<T>(dir: string, act: (folder: string) => T): Promise<T> {
  const folder = join(dir, FOLDER)
  try {
    await makeFolder(folder)
    return act(folder)
  } catch (cause) {
    if (cause instanceof SeaportError) throw cause
    throw SeaportError.STORAGE_FAILED(
      `no key can be kept in ${dir} (${(cause as Error).message}), choose another folder with --dir, or give a service a --seed`,
      cause
    )
  }
}

/**
 * Reads the key in a file, and makes it where there is none, out of the predecessor if that is there. The caller
 * holds the file's lock. A crash leaves no key or a whole one, and a predecessor becomes the key of one file only.
 */
function keepKey(file: string, predecessor?: string): KeyPair {
  if (existsSync(file)) return readKey(file)
  if (predecessor !== undefined && tryRename(predecessor, file)) return readKey(file)
  const draft = `${file}.new`
  writeFileSync(draft, `${toHex(randomSeed())}\n`, { mode: PRIVATE_FILE })
  renameSync(draft, file)
  return readKey(file)
}

function readKey(file: string): KeyPair {
  return KeyPair(readFileSync(file, 'utf8'))
}

function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw cause
  }
}
