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
  const path = named === undefined ? (nearbyPath(process.cwd()) ?? userPath()) : resolve(named)
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

function nearbyPath(folder: string): string | null {
  const path = join(folder, NEARBY_NAME)
  if (kindOf(path) === 'file') return path
  const parent = dirname(folder)
  return parent === folder ? null : nearbyPath(parent)
}

function userPath(): string | null {
  const base = process.env.XDG_CONFIG_HOME || join(homedir(), '.config')
  const path = join(base, 'hyperseaport')
  if (kindOf(path) === 'file') return path
  return kindOf(join(path, 'config')) === 'file' ? join(path, 'config') : null
}

function kindOf(path: string): 'file' | 'folder' | null {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return null
  return stats.isDirectory() ? 'folder' : 'file'
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw SeaportError.BAD_CONFIG(`${path}: cannot be read (${code})`, cause)
  }
}
