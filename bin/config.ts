import { readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type ini from 'ini'
import { SeaportError } from '../lib/identity.js'

const require = createRequire(import.meta.url)

const NEARBY_NAME = '.hyperseaportrc'

/** A config file as it was found, with each value as the texts it holds: one, or several if a list. */
export interface Config {
  path: string
  values: Record<string, string[]>
}

/**
 * Reads the config file: the one named, else the nearest `.hyperseaportrc` from here upwards, else
 * `~/.config/hyperseaport`, or `config` in it where that is a folder.
 *
 * @throws BAD_CONFIG if the named one is missing, or what there is cannot be read
 */
export function readConfig(named?: string): Config | null {
  const path = named === undefined ? foundPath() : resolve(named)
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
  const values: Record<string, string[]> = {}
  for (const [key, value] of Object.entries(parsed)) {
    const texts = Array.isArray(value) ? value : [value]
    if (!texts.every(isScalar)) {
      throw SeaportError.BAD_CONFIG(`${path}: ${key} must be a text, a number, or a list of them`)
    }
    values[key] = texts.map(String)
  }
  return values
}

function parseJson(text: string, path: string): Record<string, unknown> {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = (cause as Error).message.replaceAll('\n', ' ')
    throw SeaportError.BAD_CONFIG(`${path}: not valid JSON: ${reason}`, cause)
  }
}

/** The `ini` package takes any text for INI, and a line without a value for a switch. We do not. */
function parseIni(text: string, path: string): Record<string, unknown> {
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*($|[;#]|[^=\s[][^=]*=)/.test(line)) continue
    throw SeaportError.BAD_CONFIG(`${path}: line ${index + 1} is not key=value`)
  }
  // Not everybody has a file for it to read.
  return (require('ini') as typeof ini).parse(text)
}

function isScalar(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

/** Where there is no folder to search, there is no file: the working folder was deleted, or the user has no home. */
function foundPath(): string | null {
  const here = ifThere(() => process.cwd())
  const nearby = here === null ? null : nearbyPath(here)
  return nearby ?? userPath()
}

function ifThere(folder: () => string): string | null {
  try {
    return folder()
  } catch {
    return null
  }
}

function nearbyPath(folder: string): string | null {
  const path = join(folder, NEARBY_NAME)
  if (kindOf(path) === 'file') return path
  const parent = dirname(folder)
  return parent === folder ? null : nearbyPath(parent)
}

function userPath(): string | null {
  const home = ifThere(homedir)
  const base = process.env.XDG_CONFIG_HOME || (home === null ? null : join(home, '.config'))
  if (base === null) return null
  const path = join(base, 'hyperseaport')
  if (kindOf(path) === 'file') return path
  return kindOf(join(path, 'config')) === 'file' ? join(path, 'config') : null
}

/** What may not be looked at is another user's, who did not mean us. */
function kindOf(path: string): 'file' | 'folder' | null {
  try {
    return statSync(path).isDirectory() ? 'folder' : 'file'
  } catch {
    return null
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw SeaportError.BAD_CONFIG(`${path}: cannot be read (${code})`, cause)
  }
}
