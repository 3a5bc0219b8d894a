import { lstatSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { homeFolder, readSmallFile, SeaportError, whyUnread } from '../lib/identity.js'
import { parseIni } from './ini.js'

const NEARBY_NAME = '.hyperseaportrc'

/** A config file as it was found, with each value as the texts it holds: one, or several if a list. */
export interface Config {
  path: string
  values: Record<string, string[]>
}

/** Told of a file that was found and is not used, and whose it is. */
type OnPassedOver = (path: string, owner: number) => void

/**
 * Reads the config file: the one named, else the nearest `.hyperseaportrc` from here upwards, else
 * `~/.config/hyperseaport`, or `config` in it where that is a folder. Of those that it searches for, it uses only this
 * user's and root's: in a shared folder, anybody may have left one.
 *
 * @throws BAD_CONFIG if the named one is missing, or what there is cannot be read
 */
export function readConfig(named?: string, onpassedover: OnPassedOver = () => {}): Config | null {
  const path = named === undefined ? foundPath(onpassedover) : resolve(named)
  return path === null ? null : { path, values: parseConfig(readText(path), path) }
}

/**
 * Parses INI (`key=value` lines) or, when it begins with a brace, JSON.
 *
 * @param path where the text came from, for the error
 * @throws BAD_CONFIG
 */
export function parseConfig(text: string, path: string): Record<string, string[]> {
  const parsed = text.trimStart().startsWith('{') ? parseJson(text, path) : parseIni(text, path)
  const values = Object.entries(parsed).map(([key, value]) => {
    const texts = Array.isArray(value) ? value : [value]
    if (!texts.every(isScalar)) {
      throw SeaportError.BAD_CONFIG(`${path}: ${key} must be a text, a number, or a list of them`)
    }
    return [key, texts.map(String)]
  })
  return Object.fromEntries(values)
}

function parseJson(text: string, path: string): Record<string, unknown> {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = (cause as Error).message.replaceAll('\n', ' ')
    throw SeaportError.BAD_CONFIG(`${path}: not valid JSON: ${reason}`, cause)
  }
}

function isScalar(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

/** Where there is no folder to search, there is no file: the working folder was deleted, or the user has no home. */
function foundPath(onpassedover: OnPassedOver): string | null {
  for (const path of candidates()) {
    const owner = strangerOf(path)
    if (owner === null) return path
    onpassedover(path, owner)
  }
  return null
}

/** The files that there are, in the order of the search. */
function* candidates(): Iterable<string> {
  let folder = ifThere(() => process.cwd())
  while (folder !== null) {
    const path = join(folder, NEARBY_NAME)
    if (kindOf(path) === 'file') yield path
    const parent = dirname(folder)
    folder = parent === folder ? null : parent
  }
  const home = ifThere(homeFolder)
  const { XDG_CONFIG_HOME: named = '' } = process.env
  // As its specification says, a relative one is passed over.
  const base = isAbsolute(named) ? named : home && join(home, '.config')
  if (base === null) return
  const path = join(base, 'hyperseaport')
  if (kindOf(path) === 'file') yield path
  if (kindOf(join(path, 'config')) === 'file') yield join(path, 'config')
}

function ifThere(folder: () => string): string | null {
  try {
    return folder()
  } catch {
    return null
  }
}

/** What may not be looked at is another user's, who did not mean us; what is neither, as a pipe, might have no end. */
function kindOf(path: string): 'file' | 'folder' | null {
  try {
    const stat = statSync(path)
    if (stat.isFile()) return 'file'
    return stat.isDirectory() ? 'folder' : null
  } catch {
    return null
  }
}

/** Who else than this user and root has put a file there, or a link to it; null if nobody has. */
function strangerOf(path: string): number | null {
  // Windows has no numbers for users.
  const user = process.getuid?.()
  if (user === undefined) return null
  const owners = [lstatSync(path).uid, statSync(path).uid]
  return owners.find((owner) => owner !== user && owner !== 0) ?? null
}

/** As text. Windows' editors and shells begin theirs with a mark, or write UTF-16. */
export function decodeText(bytes: Buffer): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe
  return bytes.toString(isUtf16 ? 'utf16le' : 'utf8').replace(/^\uFEFF/, '')
}

function readText(path: string): string {
  try {
    return decodeText(readSmallFile(path))
  } catch (cause) {
    throw SeaportError.BAD_CONFIG(`${path}: cannot be read (${whyUnread(cause)})`, cause)
  }
}
