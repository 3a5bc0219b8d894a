import { createRequire } from 'node:module'
import { closest, distance } from 'fastest-levenshtein'
import yargs, { type Options } from 'yargs'
import { SeaportError } from '../lib/core/errors.js'
import type { Command, Flag } from './command.js'

const { version } = createRequire(import.meta.url)('hyperseaport/package.json')

const PROGRAM = 'hyperseaport'
const END_OF_FLAGS = '--'
const HELP_WIDTH = 100
/** A swapped pair of letters counts two, and is the most we take for a slip. */
const MAX_SLIP = 2

export interface Arguments {
  command: Command
  /** What the command line gives, by flag. */
  values: Record<string, string[]>
}

/**
 * Reads a command line: which command, and its flags as texts. Without a verb it is the first command.
 *
 * @returns the text to print instead when it asks for help or the version
 * @throws USAGE for a verb, flag or argument that there is none of, naming the nearest there is
 */
export function parseArguments(line: string[], commands: Command[]): Arguments | string {
  const [first, ...others] = line
  if (first === 'help') return parseArguments([...others, '--help'], commands)
  const end = line.includes(END_OF_FLAGS) ? line.indexOf(END_OF_FLAGS) : line.length

  let parsed: { command: Command; argv: Argv } | null = null
  const parser = yargs()
  for (const [index, command] of commands.entries()) {
    parser.command({
      command: [signature(command), ...(index === 0 ? ['$0'] : [])],
      describe: command.describe,
      builder: (parser) => parser.options(yargsOptions(command)).example(examplesOf(command)),
      handler: (argv) => {
        parsed = { command, argv }
      }
    })
  }
  parser
    .scriptName(PROGRAM)
    .usage('$0 <verb> [flags]')
    .help('help', 'Show help, of a verb too')
    .alias('help', 'h')
    .version(version)
    .describe('version', 'Show the version')
    .epilogue(
      'Flags can also be set in the environment (HYPERSEAPORT_REGISTRY_SEED=…) and in a config file ' +
        '(registrySeed=…). Give seeds that way, or as @file: arguments show in the process list.'
    )
    .wrap(HELP_WIDTH)
    .locale('en')
    .exitProcess(false)
    .parserConfiguration({
      'boolean-negation': false,
      'dot-notation': false,
      'greedy-arrays': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'strip-aliased': true,
      'strip-dashed': true
    })
    .fail((text, error) => {
      throw error ?? SeaportError.USAGE(text)
    })

  checkSwitches(line.slice(0, end), commands)
  let printed = ''
  parser.parse(line.slice(0, end), {}, (_error, _argv, output) => {
    printed = output
  })
  if (printed !== '' || parsed === null) return printed
  const { command, values } = check(parsed, commands)
  return { command, values: { ...values, ...rest(command, line.slice(end)) } }
}

type Argv = { _: (string | number)[]; $0: string; [flag: string]: unknown }

function check({ command, argv }: { command: Command; argv: Argv }, commands: Command[]) {
  const { _: words, $0: _program, help: _help, version: _version, ...flags } = argv
  const [verb, extra] = words.map(String)
  const verbs = commands.map(({ verb }) => verb)
  // yargs takes a word that is no verb for an argument of the default command.
  if (verb !== undefined && !verbs.includes(verb)) {
    throw SeaportError.USAGE(`unknown verb ${verb}${nearest(verb, verbs)} Run '${PROGRAM} --help'.`)
  }
  const advice = `Run '${PROGRAM} ${command.verb} --help'.`
  for (const name of Object.keys(flags)) {
    if (Object.hasOwn(command.flags, name) && command.flags[name]?.kind !== 'rest') continue
    const owners = commands
      .filter(({ flags }) => Object.hasOwn(flags, name))
      .map(({ verb }) => verb)
    const ending =
      owners.length > 0
        ? `, it belongs to ${owners.join(', ')}.`
        : nearest(name, [...Object.keys(command.flags), 'help', 'version'], dashed)
    throw SeaportError.USAGE(`unknown flag ${dashed(name)}${ending} ${advice}`)
  }
  if (extra !== undefined) {
    throw SeaportError.USAGE(`unexpected argument ${JSON.stringify(extra)}. ${advice}`)
  }
  return { command, values: Object.fromEntries(Object.entries(flags).map(asTexts)) }
}

/** yargs takes any value of a switch but `true` for `false`, silently. */
function checkSwitches(line: string[], commands: Command[]) {
  const switches = new Set(
    commands.flatMap(({ flags }) =>
      Object.keys(flags).filter((name) => flags[name]?.kind === 'switch')
    )
  )
  for (const token of line) {
    const [, name = '', value = ''] = /^--([^=]+)=(.*)$/.exec(token) ?? []
    if (!switches.has(name) || value === 'true' || value === 'false') continue
    throw SeaportError.USAGE(
      `--${name} takes no value, only =true or =false, not ${JSON.stringify(value)}. Run '${PROGRAM} --help'.`
    )
  }
}

/** What follows `--` is for another program. */
function rest({ verb, flags }: Command, line: string[]): Record<string, string[]> {
  const [separator, ...words] = line
  if (separator === undefined) return {}
  const advice = `Run '${PROGRAM} ${verb} --help'.`
  const name = Object.keys(flags).find((name) => flags[name]?.kind === 'rest')
  if (name === undefined) {
    throw SeaportError.USAGE(`${verb} takes nothing after ${END_OF_FLAGS}. ${advice}`)
  }
  if (words.length === 0) {
    throw SeaportError.USAGE(`there is no ${name} after ${END_OF_FLAGS}. ${advice}`)
  }
  return { [name]: words }
}

function asTexts([name, value]: [string, unknown]): [string, string[]] {
  return [name, (Array.isArray(value) ? value : [value]).map(String)]
}

/** How a sentence about an unknown name ends: `, did you mean --port?`, if anything is near. */
function nearest(name: string, names: string[], show = (name: string) => name): string {
  const candidate = closest(name, names)
  return distance(name, candidate) <= MAX_SLIP ? `, did you mean ${show(candidate)}?` : '.'
}

function dashed(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`
}

/** As yargs wants it, `list [role]`. */
function signature({ verb, positional }: Command): string {
  return positional === undefined ? verb : `${verb} [${positional}]`
}

/** Values stay texts: `Settings` reads them, wherever they come from. */
function yargsOptions({ flags }: Command): Record<string, Options> {
  const named = Object.entries(flags).filter(([, flag]) => flag.kind !== 'rest')
  return Object.fromEntries(named.map(([name, flag]) => [name, yargsOption(flag)]))
}

function yargsOption({ kind = 'text', describe, alias, otherwise }: Flag): Options {
  return {
    type: kind === 'switch' ? 'boolean' : 'string',
    array: kind === 'list',
    describe,
    ...(alias === undefined ? {} : { alias }),
    ...(otherwise === undefined ? {} : { defaultDescription: otherwise })
  }
}

function examplesOf({ examples }: Command): [string, string][] {
  return examples.map(([line, does]) => [`$0 ${line}`, does])
}
