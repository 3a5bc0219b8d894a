import { dirname, resolve } from 'node:path'
import { homeFolder, parseKey, readSmallFile, SeaportError, whyUnread } from '../lib/identity.js'
import { parseDelay, parseDuration, parseExpiry, parseSize } from '../lib/options.js'
import { type Config, decodeText, parseConfig, readConfig } from './config.js'
import type { Declaration, Flag } from './declaration.js'

/** Values from one place. Names are folded, so that HYPERSEAPORT_REGISTRY_SEED is registrySeed. */
interface Layer {
  /** How an error names the place. */
  from: string
  /** Relative files are named from here. */
  folder: string
  values: Map<string, string[]>
}

const MAX_PORT = 65535
/** What no flag takes as its value, and Kubernetes sets variables to. */
const INJECTED = /^(tcp|udp|sctp):\/\//
/** What Docker sets the name of a link to: that of the consumer, and the alias. */
const LINK_NAME = /^\/[^/]+\/[^/]+$/

/**
 * What a command was told: by the command line, else the environment, else a config file.
 *
 * Each reader takes a fallback for a flag that nobody gave; without one the flag is needed, and its
 * absence a usage error.
 */
export class Settings {
  readonly #command: Declaration
  readonly #layers: Layer[]
  /** The same settings, as the config file has them now. */
  readonly reread: () => Settings

  constructor(
    command: Declaration,
    commandLine: Record<string, string[]>,
    environment: NodeJS.ProcessEnv,
    config: Config | null
  ) {
    this.#command = command
    this.reread = () =>
      new Settings(command, commandLine, environment, config && readConfig(config.path))
    const here = workingFolder()
    this.#layers = [
      { from: '', folder: here, values: foldNames(commandLine) },
      { from: 'the environment', folder: here, values: foldNames(ourVariables(environment)) }
    ]
    if (config) {
      const { path, values } = config
      this.#layers.push({ from: path, folder: dirname(path), values: foldNames(values) })
    }
  }

  text(name: string): string
  text<T>(name: string, fallback: T): string | T
  text(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text) => text)
  }

  /** A file or folder. No shell has seen `~/` in a config file, or behind a `=`. */
  path(name: string): string
  path<T>(name: string, fallback: T): string | T
  path(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, expandHome)
  }

  /** A port to connect to. */
  port(name: string): number
  port<T>(name: string, fallback: T): number | T
  port(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text) => parsePort(text, 1))
  }

  /** A port to listen on, where 0 asks for a free one. */
  listenPort(name: string): number
  listenPort<T>(name: string, fallback: T): number | T
  listenPort(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text) => parsePort(text, 0))
  }

  /** A key or seed, itself or as `@file` that holds it. */
  key(name: string): Buffer
  key<T>(name: string, fallback: T): Buffer | T
  key(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text, { folder }) =>
      text.startsWith('@')
        ? parseKey(keyInFile(name, resolve(folder, expandHome(text.slice(1)))), name)
        : parseKey(text, name)
    )
  }

  /** How many: 1 or more. */
  count(name: string): number
  count<T>(name: string, fallback: T): number | T
  count(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text) => {
      if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
      throw SeaportError.USAGE(
        `must be a whole number from 1, of at most nine digits, not ${JSON.stringify(text)}`
      )
    })
  }

  /** A time span, in ms. */
  duration(name: string): number
  duration<T>(name: string, fallback: T): number | T
  duration(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, parseDuration)
  }

  /** A time span that may be none at all, in ms. */
  delay(name: string): number
  delay<T>(name: string, fallback: T): number | T
  delay(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, parseDelay)
  }

  /** A number of bytes. */
  size(name: string): number
  size<T>(name: string, fallback: T): number | T
  size(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, parseSize)
  }

  /** When something ends, in ms since 1970. */
  expiry(name: string): number
  expiry<T>(name: string, fallback: T): number | T
  expiry(name: string, ...fallback: unknown[]) {
    return this.#read(name, fallback, (text) => parseExpiry(text))
  }

  /** Every value of a flag that may be repeated; outside the command line, separated by commas. */
  list(name: string): string[] {
    const found = this.#find(name)
    if (!found) return []
    if (found.layer.from === '') return found.texts
    return found.texts.flatMap((text) => text.split(',')).map((text) => text.trim())
  }

  /** The files that the command reads, as far as it is told now, named in full. */
  files(): string[] {
    return Object.keys(this.#command.flags).flatMap((name) => {
      const { texts = [], layer } = this.#find(name) ?? {}
      return texts.flatMap((text) => {
        const given = text.trim()
        const isNamed = given.startsWith('@')
        if (!isNamed && this.#flag(name).isFile !== true) return []
        try {
          return resolve(layer?.folder ?? '', expandHome(isNamed ? given.slice(1) : given))
        } catch {
          // The command says so when it reads it.
          return []
        }
      })
    })
  }

  /** One of a few words. */
  word<W extends string, T>(name: string, words: readonly W[], fallback: T): W | T {
    return this.#read(name, [fallback], (text) => {
      const word = words.find((word) => word === text)
      if (word !== undefined) return word
      throw SeaportError.USAGE(`must be one of ${words.join(', ')}, not ${JSON.stringify(text)}`)
    })
  }

  /** Whether a switch is on. */
  on(name: string): boolean
  on<T>(name: string, fallback: T): boolean | T
  on(name: string, ...given: unknown[]) {
    // A fallback that is undefined is one, too: it says that nobody has said anything.
    const fallback = given.length > 0 ? given : [false]
    return this.#read(name, fallback, (text) => {
      if (/^(true|yes|on|1)$/i.test(text)) return true
      if (/^(false|no|off|0)$/i.test(text)) return false
      throw SeaportError.USAGE(`must be true or false, not ${JSON.stringify(text)}`)
    })
  }

  #read<T>(name: string, fallback: unknown[], read: (text: string, layer: Layer) => T): T {
    const found = this.#find(name)
    if (!found) {
      if (fallback.length > 0) return fallback[0] as T
      throw this.#refuse(this.#missing(name))
    }
    const { texts, layer } = found
    const shown = layer.from === '' ? `--${name}` : `--${name} (from ${layer.from})`
    if (texts.length > 1) throw this.#refuse(`${shown} can have one value only`)
    const text = texts[0]?.trim() ?? ''
    if (text === '') throw this.#refuse(`${shown} needs a value`)
    try {
      return read(text, layer)
    } catch (error) {
      if (!(error instanceof SeaportError) || error.code !== 'USAGE') throw error
      throw this.#refuse(`${shown} ${error.text}`)
    }
  }

  /** What is missing, beginning with one, so that nobody has to find out one by one. */
  #missing(first: string): string {
    const others = Object.keys(this.#command.flags).filter((name) => {
      const { needed, unless = [] } = this.#flag(name)
      const isCovered = unless.some((other) => this.#find(other))
      return name !== first && needed !== undefined && !isCovered && !this.#find(name)
    })
    return [first, ...others]
      .map((name) => `--${name} is missing: ${this.#flag(name).needed ?? 'it is needed'}`)
      .join('; ')
  }

  #find(name: string): { texts: string[]; layer: Layer } | null {
    const layers = this.#flag(name).commandLineOnly ? this.#layers.slice(0, 1) : this.#layers
    for (const layer of layers) {
      const texts = layer.values.get(foldName(name))
      if (texts) return { texts, layer }
    }
    return null
  }

  #flag(name: string): Flag {
    const flag = this.#command.flags[name]
    if (!flag) throw new Error(`${this.#command.verb} reads --${name} but does not declare it`)
    return flag
  }

  #refuse(text: string): SeaportError {
    return SeaportError.USAGE(`${text}. Run 'hyperseaport ${this.#command.verb} --help'.`)
  }
}

/** A name as it compares: the environment has no case, and files may use dashes. */
export function foldName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '')
}

function foldNames(values: Record<string, string[]>): Map<string, string[]> {
  return new Map(Object.entries(values).map(([name, texts]) => [foldName(name), texts]))
}

/**
 * `HYPERSEAPORT_REGISTRY_SEED`, `hyperseaport_registrySeed`…; an empty variable counts as unset, and so does one that
 * Kubernetes or Docker has set.
 */
function ourVariables(environment: NodeJS.ProcessEnv): Record<string, string[]> {
  const values: Record<string, string[]> = {}
  for (const [variable, text] of Object.entries(environment)) {
    const name = nameIn(variable)
    if (name && text && !isInjected(name, text)) values[name] = [text]
  }
  return values
}

/**
 * The variables that Kubernetes, or Docker for a link, has set for a service of that name, and that a verb would read as
 * its own: in the pods beside a service `hyperseaport`, `HYPERSEAPORT_PORT` is `tcp://10.0.0.1:80`.
 */
export function injectedVariables(
  environment: NodeJS.ProcessEnv,
  { flags }: Declaration
): string[] {
  const names = Object.keys(flags).map(foldName)
  return Object.entries(environment)
    .filter(([variable, text = '']) => {
      const name = nameIn(variable)
      return name !== undefined && names.includes(foldName(name)) && isInjected(name, text)
    })
    .map(([variable]) => variable)
}

function isInjected(name: string, text: string): boolean {
  return INJECTED.test(text) || (foldName(name) === 'name' && LINK_NAME.test(text))
}

function nameIn(variable: string): string | undefined {
  return /^hyperseaport_(.+)$/i.exec(variable)?.[1]
}

function parsePort(text: string, lowest: number): number {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port >= lowest && port <= MAX_PORT) return port
  throw SeaportError.USAGE(
    `must be a port from ${lowest} to ${MAX_PORT}, not ${JSON.stringify(text)}`
  )
}

/** A file holds the bare key, or is a config file, such as `seed` writes, that has it. */
function keyInFile(name: string, path: string): string {
  let text: string
  try {
    text = decodeText(readSmallFile(path)).trim()
  } catch (cause) {
    throw SeaportError.USAGE(`names a file that cannot be read: ${path} (${whyUnread(cause)})`)
  }
  if (!/[={]/.test(text)) return text
  const values = foldNames(parseConfig(text, path))
  // Any seed may come from `hyperseaport seed`, which calls all of them registrySeed.
  const found = values.get(foldName(name)) ?? (name === 'seed' ? values.get('registryseed') : null)
  if (found?.[0]) return found[0]
  throw SeaportError.USAGE(`names a file without ${name}: ${path}`)
}

/** It may have been deleted. Then relative files are named from the root, where they are not found. */
function workingFolder(): string {
  try {
    return process.cwd()
  } catch {
    return '/'
  }
}

export function expandHome(path: string): string {
  if (path !== '~' && !path.startsWith('~/')) return path
  try {
    return homeFolder() + path.slice(1)
  } catch {
    throw SeaportError.USAGE(`names ${path}, but this user has no home folder; name it in full`)
  }
}
