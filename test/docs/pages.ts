import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const HOUSE = resolve(import.meta.dirname, '../../..')
/** The pages whose commands readers type. */
export const WALKED_PAGES = ['README.md', ...listPages('docs/guide')]
/** Every page of the documentation. */
export const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...listPages('docs')]

/** What stands between two fences. */
export interface Block {
  language: string
  lines: string[]
  /** Where it is, as `docs/guide/running.md:12`. */
  place: string
}

/** A command as a page has it. */
export interface DocumentedCommand {
  text: string
  /** Where the reader runs it, as a comment at the beginning of the block says: `the first machine`. */
  machine: string
  /** What the page says that it prints: comments that follow it without an empty line. */
  prints: string[]
  place: string
}

export function textOf(page: string): string {
  return readFileSync(join(HOUSE, page), 'utf8')
}

export function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  let open: Block | null = null
  for (const [index, line] of textOf(page).split('\n').entries()) {
    const [, fence] = /^```(.*)$/.exec(line) ?? []
    if (fence === undefined) open?.lines.push(line)
    else if (open) open = null
    else {
      open = { language: fence, lines: [], place: `${page}:${index + 2}` }
      blocks.push(open)
    }
  }
  return blocks
}

/** The commands of all `sh` blocks of a page, in their order. */
export function commandsOf(page: string): DocumentedCommand[] {
  return blocksOf(page)
    .filter(({ language }) => language === 'sh')
    .flatMap(commandsOfBlock)
}

function commandsOfBlock({ lines, place }: Block): DocumentedCommand[] {
  const [, machine = ''] = /^# (?:on|in) (the .+?)(?:,.*)?$/.exec(lines[0] ?? '') ?? []
  const commands: DocumentedCommand[] = []
  let isContinued = false
  let last: DocumentedCommand | null = null
  for (const line of lines) {
    if (isContinued && last) last.text += `\n${line}`
    else if (line.startsWith('#')) last?.prints.push(line.replace(/^# ?/, ''))
    else if (line === '') last = null
    else {
      last = { text: line, machine, prints: [], place }
      commands.push(last)
    }
    isContinued = line.endsWith('\\')
  }
  return commands
}

/** Markdown files of a folder and those below it, by name. */
function listPages(folder: string): string[] {
  return readdirSync(join(HOUSE, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name}`)
    .sort()
}
