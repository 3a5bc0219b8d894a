import type { Declaration, Flag } from './declaration.js'
import { SUMMARIES } from './summaries.js'

export const PROGRAM = 'hyperseaport'
/** Flags that every verb has, and that are answered before it is run. */
export const ANSWERED = {
  help: { kind: 'switch', alias: 'h', describe: 'Show help, of a verb too' },
  version: { kind: 'switch', describe: 'Show the version' }
} satisfies Record<string, Flag>

const WIDTH = 100
const MAX_LEFT_WIDTH = WIDTH / 2
const INDENT = '  '
const EPILOGUE =
  'Flags can also be set in the environment (HYPERSEAPORT_REGISTRY_SEED=…) and in a config file ' +
  '(registrySeed=…). Give seeds that way, or as @file: arguments show in the process list.'
/** What most people do first, in this order. */
const FIRST_STEPS: Row[] = [
  [`${PROGRAM} demo`, 'See all of it at work on this machine'],
  [`${PROGRAM} seed --out ~/.config/${PROGRAM}`, 'Make a registry, and its config file'],
  [`${PROGRAM} registry`, 'Run it'],
  [`${PROGRAM} service -p 5984 -r couchdb@3.2.2`, 'Register what listens on a port'],
  [`${PROGRAM} proxy -p 5985 -r couchdb@3.x`, 'Use it, from anywhere']
]
const TYPES = { text: '[string]', switch: '[boolean]', list: '[array]', rest: '' }

/** A row of a table: what it is about, what is said of it, and what stands at the right edge. */
type Row = [left: string, text: string, hint?: string]

/** The help of one verb. */
export function helpOf(command: Declaration): string {
  return join([
    [`${PROGRAM} ${signature(command)}`],
    [SUMMARIES[command.verb]],
    section('Options:', flagRows(command)),
    section('Examples:', exampleRows(command))
  ])
}

/** The help of the program: its verbs. What each of them takes, its own help says. */
export function helpOfAll(): string {
  const verbs = Object.entries(SUMMARIES).map(
    ([verb, does], i): Row => [`${PROGRAM} ${verb}`, does, i === 0 ? '[default]' : '']
  )
  return join([
    [`${PROGRAM} <verb> [flags]`],
    section('Commands:', verbs),
    section('First steps:', FIRST_STEPS),
    wrap(`'${PROGRAM} <verb> --help' shows the flags of a verb. ${EPILOGUE}`, WIDTH)
  ])
}

/** As in `list [role]`. */
export function signature(command: Declaration): string {
  const words = positionalsOf(command).map((name) =>
    command.flags[name]?.kind === 'list' ? `[${name}…]` : `[${name}]`
  )
  return [command.verb, ...words].join(' ')
}

/** The flags that may be given by position. */
export function positionalsOf({ positional = [] }: Declaration): readonly string[] {
  return typeof positional === 'string' ? [positional] : positional
}

function flagRows({ flags }: Declaration): Row[] {
  return Object.entries({ ...ANSWERED, ...flags })
    .filter(([, { kind }]: [string, Flag]) => kind !== 'rest')
    .map(([name, { alias, describe, kind = 'text', otherwise }]: [string, Flag]) => [
      `${alias === undefined ? '    ' : `-${alias}, `}--${name}`,
      describe,
      [TYPES[kind], ...(otherwise === undefined ? [] : [`[default: ${otherwise}]`])].join(' ')
    ])
}

function exampleRows({ examples }: Declaration): Row[] {
  return examples.map(([line, does]) => [`${PROGRAM} ${line}`, does])
}

/** A table whose left column is as wide as what is in it, up to half of the whole. */
function section(title: string, rows: Row[]): string[] {
  const leftWidth = Math.min(MAX_LEFT_WIDTH, Math.max(...rows.map(([left]) => left.length)))
  const textWidth = WIDTH - INDENT.length - leftWidth - INDENT.length
  return [title, ...rows.flatMap((row) => rowLines(row, leftWidth, textWidth))]
}

function rowLines([left, text, hint = '']: Row, leftWidth: number, textWidth: number): string[] {
  const lefts = wrap(left, leftWidth)
  const texts = wrap(text, textWidth)
  const lines = Array.from({ length: Math.max(lefts.length, texts.length) }, (_, i) =>
    `${INDENT}${(lefts[i] ?? '').padEnd(leftWidth)}${INDENT}${texts[i] ?? ''}`.trimEnd()
  )
  if (hint === '') return lines
  const last = lines.at(-1) ?? ''
  const fits = last.length + 1 + hint.length <= WIDTH
  if (fits) return [...lines.slice(0, -1), last + hint.padStart(WIDTH - last.length)]
  return [...lines, hint.padStart(WIDTH)]
}

/** Breaks a text at its spaces. What leads it stays, and a word that is too long has a line of its own. */
function wrap(text: string, width: number): string[] {
  const [, lead = '', rest = ''] = /^( *)(.*)$/.exec(text) ?? []
  const lines: string[] = []
  let line = lead
  for (const word of rest.split(' ')) {
    const longer = line.trim() === '' ? line + word : `${line} ${word}`
    if (longer.length <= width || line.trim() === '') line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

function join(sections: string[][]): string {
  return sections.map((lines) => lines.join('\n')).join('\n\n')
}
