import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { KeyPair, randomSeed, toHex } from '../../core/keys.js'
import { isOpenLimit, MORE_FILES } from '../../core/open-limit.js'
import { defaultDir, makeFolder, PRIVATE_FILE, registryDir } from './data-folder.js'
import { FileLock } from './file-lock.js'

export { makeFolder, userDir } from './data-folder.js'
export { FileLock } from './file-lock.js'
export { StateFiles } from './state-files.js'

/** The file name of the process key. */
export const PROCESS_KEY = 'process'
/** What is locked while slots are looked at, taken or made. */
const SLOTS = 'slots'
const FOLDER = 'keys'
const FILE_NAME_LENGTH = 32
/** Slots that are tried in turn. Each is one more instance of a role on one target, by one user, on one machine. */
const MAX_SLOTS = 1024
const SLOT_NAME = /^[\w.-]{1,64}$/
const HAS_PORT = /:\d+$/

/** What a service's key is kept for. */
export interface ServiceIdentity {
  role: string
  /** No part of the key. It finds one that an older build kept per version, and tells two versions apart that overlap. */
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
    return hasText(file) ? readKey(file) : alone(file, () => keepKey(file))
  })
}

/**
 * Takes the key of a service that was not given a seed. It is kept by folder, role, backend and slot, and not
 * by version, so that grants survive an upgrade. Several instances have a slot each: whoever comes takes the
 * first that no running process holds, or the one that it names. Two versions that overlap on one port need names:
 * else the later one would have another key than after the end of the first.
 *
 * @throws KEY_IN_USE if a running process holds the named slot, or is of another version, LIMIT_REACHED,
 *   STORAGE_FAILED, USAGE
 */
export async function takeServiceKey(
  registry: Buffer,
  identity: ServiceIdentity,
  dir?: string
): Promise<HeldKey> {
  const { role, name } = identity
  if (name !== undefined) checkSlotName(name)
  return withSlots(registry, dir, (folder) => {
    for (const slot of slotsOf(identity)) {
      const file = join(folder, slotFile(identity, slot))
      const key = takeSlot(folder, file, identity)
      if (key) return key
      const other = name === undefined ? otherVersion(file, identity) : null
      if (other !== null) {
        throw SeaportError.KEY_IN_USE(
          `a running process serves ${role}@${other} on ${identity.backend} already, and has the key that this version would have after it; stop it first, or give one of them a key of its own with --name`
        )
      }
    }
    if (name === undefined) throw tooMany(identity)
    throw SeaportError.KEY_IN_USE(
      `a running process serves ${role} under the name ${name} already; stop it, or choose another --name`
    )
  })
}

/**
 * The key that a service has which is started now, or in place of the running process that has it: of a named slot, or
 * of another version. And the keys of the numbered slots before it, which running processes hold.
 *
 * @throws LIMIT_REACHED, STORAGE_FAILED, USAGE
 */
export async function nextServiceKey(
  registry: Buffer,
  identity: ServiceIdentity,
  dir?: string
): Promise<{ next: KeyPair; held: KeyPair[] }> {
  if (identity.name !== undefined) checkSlotName(identity.name)
  return withSlots(registry, dir, (folder) => {
    const held: KeyPair[] = []
    for (const slot of slotsOf(identity)) {
      const file = join(folder, slotFile(identity, slot))
      const key = takeSlot(folder, file, identity)
      key?.release()
      const next = key?.keyPair ?? readKey(file)
      const isReplaced = identity.name !== undefined || otherVersion(file, identity) !== null
      if (key || isReplaced) return { next, held }
      held.push(next)
    }
    throw tooMany(identity)
  })
}

/** @throws USAGE */
export function checkSlotName(name: string): string {
  if (typeof name === 'string' && SLOT_NAME.test(name)) return name
  throw SeaportError.USAGE(
    `the name of an instance is up to 64 letters, digits, dots, dashes and underscores, not ${JSON.stringify(name)}`
  )
}

/** Those that are tried in turn. */
function* slotsOf({ name }: ServiceIdentity): Iterable<string> {
  if (name !== undefined) yield name
  else for (let slot = 1; slot <= MAX_SLOTS; slot++) yield String(slot)
}

/** The key in this file, or null if a running process holds it. */
function takeSlot(folder: string, file: string, identity: ServiceIdentity): HeldKey | null {
  const lock = FileLock.tryTake(`${file}.lock`)
  if (!lock) return null
  try {
    const keyPair = keepKey(file, join(folder, versionedFile(identity)))
    writeFileSync(versionFile(file), identity.version, { mode: PRIVATE_FILE })
    return { keyPair, release: () => lock.release() }
  } catch (error) {
    lock.release()
    throw error
  }
}

/**
 * The version that the holder of a key serves, if it is another than this one, on the same port. What has no port
 * may run in two versions side by side.
 */
function otherVersion(file: string, { version, backend }: ServiceIdentity): string | null {
  if (!HAS_PORT.test(backend) || !existsSync(versionFile(file))) return null
  const held = readFileSync(versionFile(file), 'utf8')
  // A power cut may have left an empty one.
  return held === version || held === '' ? null : held
}

function tooMany({ role }: ServiceIdentity): SeaportError {
  return SeaportError.LIMIT_REACHED(
    `${MAX_SLOTS} instances of ${role} run on this machine already; give this one a folder of its own (--dir)`
  )
}

function slotFile({ role, backend }: ServiceIdentity, slot: string): string {
  return fileName(`${role} ${backend} ${slot}`)
}

/** Which version the holder of a key serves. */
function versionFile(file: string): string {
  return `${file}.version`
}

/** What builds before 0.2 called the file of a service's key. */
function versionedFile({ role, version, backend }: ServiceIdentity): string {
  return fileName(`${role}@${version} ${backend}`)
}

function fileName(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, FILE_NAME_LENGTH)
}

/**
 * Works with the slots of a folder while no other process does: a slot that is only looked at would seem held to a
 * service that starts just then, and one that is just taken has the version of its last holder for a moment.
 *
 * @throws STORAGE_FAILED in place of errors of the file system
 */
function withSlots<T>(
  registry: Buffer,
  dir: string | undefined,
  act: (folder: string) => T
): Promise<T> {
  return withKeys(dir ?? defaultDir(registry, 'service'), (folder) =>
    alone(join(folder, SLOTS), () => act(folder))
  )
}

/** Does what takes a moment while no other process does. */
function alone<T>(file: string, act: () => T): T {
  const lock = FileLock.take(`${file}.lock`)
  try {
    return act()
  } finally {
    lock.release()
  }
}

/** @throws STORAGE_FAILED in place of errors of the file system */
async function withKeys<T>(dir: string, act: (folder: string) => T): Promise<T> {
  const folder = join(dir, FOLDER)
  try {
    await makeFolder(folder)
    return act(folder)
  } catch (cause) {
    if (cause instanceof SeaportError) throw cause
    const remedy = isOpenLimit(cause)
      ? MORE_FILES
      : 'choose another folder with --dir or HYPERSEAPORT_DIR, or give a service a --seed'
    throw SeaportError.STORAGE_FAILED(
      `no key can be kept in ${dir} (${(cause as Error).message}), ${remedy}`,
      cause
    )
  }
}

/**
 * Reads the key in a file, and makes it where there is none, out of the predecessor if that is there. The caller
 * holds the file's lock. A crash leaves no key or a whole one, and a predecessor becomes the key of one file only.
 *
 * @throws STORAGE_FAILED if it is damaged, and errors of the file system
 */
export function keepKey(file: string, predecessor?: string): KeyPair {
  if (hasText(file)) return readKey(file)
  if (predecessor !== undefined && tryRename(predecessor, file)) return readKey(file)
  const draft = `${file}.new`
  writeFileSync(draft, `${toHex(randomSeed())}\n`, { mode: PRIVATE_FILE, flush: true })
  renameSync(draft, file)
  return readKey(file)
}

/** An empty file is one that a power cut kept from the disk: whose key it was to hold, nobody has seen. */
function hasText(file: string): boolean {
  return existsSync(file) && statSync(file).size > 0
}

/** @throws STORAGE_FAILED */
function readKey(file: string): KeyPair {
  const text = readFileSync(file, 'utf8')
  try {
    return KeyPair(text)
  } catch (cause) {
    throw SeaportError.STORAGE_FAILED(
      `${file} holds no key any more, it is damaged; put it back from a backup, or delete it, and a new key is made, which has no grants`,
      cause
    )
  }
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
