import { SeaportError } from '../lib/identity.js'
import type { Command } from './command.js'
import type { Declaration, Flag } from './declaration.js'
import { ANSWERED, PROGRAM, positionalsOf } from './help.js'
import { DEFAULT_VERB, loadVerb, loadVerbs, VERBS } from './verbs.js'

const END_OF_FLAGS = '--'
/** A swapped pair of letters counts two, and is the most we take for a slip. */
const MAX_SLIP = 2

/** What a command line asks for: help of a verb or, without one, of all; the version; or a verb. */
export type Arguments =
  | { asks: 'help'; command: Command | null }
  | { asks: 'version' }
  | { asks: 'verb'; command: Command; values: Record<string, string[]> }

/**
 * Reads a command line: which verb, and its flags as texts, which `Settings` reads. Without a verb it is
 * the default one.
 *
 * @throws USAGE for a verb, flag or argument that there is none of, naming the nearest there is
 */
export async function parseArguments(line: string[]): Promise<Arguments> {
  if (line[0] === 'help') return parseArguments([...line.slice(1), '--help'])
  const end = line.includes(END_OF_FLAGS) ? line.indexOf(END_OF_FLAGS) : line.length
  const [tokens, rest] = [line.slice(0, end), line.slice(end)]

  const at = await verbIndex(tokens)
  const verb = tokens[at]
  const command = await loadVerb(verb ?? DEFAULT_VERB)
  if (!command) {
    throw SeaportError.USAGE(`unknown verb ${verb}${await nearest(verb ?? '', VERBS)} ${advice()}`)
  }
  const others = tokens.filter((_, i) => i !== at)
  const given = readTokens(others, flagsByName(command))
  if (given.values.has('help'))
    return { asks: 'help', command: verb === undefined ? null : command }
  if (given.values.has('version')) return { asks: 'version' }
  for (const name of given.unknown) throw await unknownFlag(name, command)
  const unexpected = addWords(given, others, command)
  if (unexpected !== undefined) {
    throw SeaportError.USAGE(
      `unexpected argument ${JSON.stringify(unexpected)}. ${advice(command)}`
    )
  }
  const values = { ...Object.fromEntries(given.values), ...readRest(command, rest) }
  return { asks: 'verb', command, values }
}

/**
 * Takes what was given by position.
 *
 * @returns the first word that has no place
 */
function addWords(given: Given, tokens: string[], command: Declaration): string | undefined {
  const names = positionalsOf(command)
  const words = given.words.map((i) => tokens[i] ?? '')
  for (const [i, word] of words.entries()) {
    const name = names[Math.min(i, names.length - 1)]
    const isBeyond = i >= names.length && (!name || command.flags[name]?.kind !== 'list')
    if (name === undefined || isBeyond) return word
    add(given.values, name, word)
  }
  return undefined
}

/** Where the verb stands: it is the first word that is no flag's value. */
async function verbIndex(tokens: string[]): Promise<number> {
  if (tokens[0] === undefined || !isFlag(tokens[0])) return 0
  if (!tokens.some((token) => !isFlag(token))) return tokens.length
  // Flags come first, so it takes those of every verb to know which of them have values.
  const flags = new Map((await loadVerbs()).flatMap((command) => [...flagsByName(command)]))
  return readTokens(tokens, flags).words[0] ?? tokens.length
}

interface Given {
  /** By the flag's name. A switch has `true` or `false`, and a text without one is empty. */
  values: Map<string, string[]>
  unknown: string[]
  /** Where something stands that is no flag and no flag's value. */
  words: number[]
}

type Named = [name: string, flag: Flag]

/** Takes `--flag value`, `--flag=value`, `-f value`, `-f=value` and `-fvalue`, with dashes or in camelCase. */
function readTokens(tokens: string[], flags: Map<string, Named>): Given {
  const given: Given = { values: new Map(), unknown: [], words: [] }
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? ''
    if (!isFlag(token)) {
      given.words.push(i)
      continue
    }
    const { called, attached } = split(token)
    const [name, flag] = flags.get(called) ?? []
    const next = tokens[i + 1]
    const isSwitch = flag?.kind === 'switch'
    const takesNext =
      attached === undefined &&
      next !== undefined &&
      (isSwitch ? /^(true|false)$/.test(next) : !isFlag(next))
    if (takesNext) i++
    const value = attached ?? (takesNext ? next : isSwitch ? 'true' : '')
    if (name === undefined) given.unknown.push(called)
    else add(given.values, name, isSwitch ? readSwitch(name, value) : value)
  }
  return given
}

/** The name that a flag is called by, in camelCase, and the value that is attached to it. */
function split(token: string): { called: string; attached: string | undefined } {
  if (!token.startsWith('--')) {
    const attached = token.length > 2 ? token.slice(2).replace(/^=/, '') : undefined
    return { called: token.charAt(1), attached }
  }
  const [name = '', ...values] = token.slice(2).split('=')
  return { called: toCamelCase(name), attached: values.length > 0 ? values.join('=') : undefined }
}

/** A negative number and a dash alone are values. */
function isFlag(token: string): boolean {
  return /^-[^\d]/.test(token)
}

function readSwitch(name: string, value: string): string {
  if (value === 'true' || value === 'false') return value
  throw SeaportError.USAGE(
    `--${name} takes no value, only =true or =false, not ${JSON.stringify(value)}. ${advice()}`
  )
}

/** What a verb's flags may be called on a command line. */
function flagsByName({ flags }: Declaration): Map<string, Named> {
  const all: Named[] = Object.entries({ ...flags, ...ANSWERED })
  const named = all.filter(([, { kind }]) => kind !== 'rest')
  return new Map(
    named.flatMap(([name, flag]): [string, Named][] => [
      [name, [name, flag]],
      ...(flag.alias === undefined ? [] : [[flag.alias, [name, flag]] as [string, Named]])
    ])
  )
}

/** What follows `--` is for another program. */
function readRest(command: Declaration, [separator, ...words]: string[]): Record<string, string[]> {
  if (separator === undefined) return {}
  const { verb, flags } = command
  const name = Object.keys(flags).find((name) => flags[name]?.kind === 'rest')
  if (name === undefined) {
    throw SeaportError.USAGE(`${verb} takes nothing after ${END_OF_FLAGS}. ${advice(command)}`)
  }
  if (words.length === 0) {
    throw SeaportError.USAGE(`there is no ${name} after ${END_OF_FLAGS}. ${advice(command)}`)
  }
  return { [name]: words }
}

async function unknownFlag(name: string, command: Declaration): Promise<SeaportError> {
  const owners = (await loadVerbs())
    .filter(({ flags }) => Object.hasOwn(flags, name) && flags[name]?.kind !== 'rest')
    .map(({ verb }) => verb)
  const ending =
    owners.length > 0
      ? `, it belongs to ${owners.join(', ')}.`
      : await nearest(name, [...flagsByName(command).keys()], dashed)
  return SeaportError.USAGE(`unknown flag ${dashed(name)}${ending} ${advice(command)}`)
}

/** How a sentence about an unknown name ends: `, did you mean --port?`, if anything is near. */
async function nearest(
  name: string,
  names: string[],
  show = (name: string) => name
): Promise<string> {
  const { closest, distance } = await import('fastest-levenshtein')
  const candidate = closest(
    name,
    names.filter(({ length }) => length > 1)
  )
  return distance(name, candidate) <= MAX_SLIP ? `, did you mean ${show(candidate)}?` : '.'
}

function advice(command?: Declaration): string {
  return `Run '${[PROGRAM, ...(command ? [command.verb] : []), '--help'].join(' ')}'.`
}

function dashed(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`
}

function toCamelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function add(values: Map<string, string[]>, name: string, value: string) {
  values.set(name, [...(values.get(name) ?? []), value])
}
