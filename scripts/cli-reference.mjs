/**
 * Writes docs/reference/cli.md from what the verbs declare, as they were built. `--check` writes nothing, and
 * exits with 1 where the page is not what it would be.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = resolve(import.meta.dirname, '..')
const PAGE = resolve(ROOT, 'docs/reference/cli.md')

const HEAD = `# Verbs and flags

This page is made from the code, with \`npm run docs:cli\`; \`hyperseaport <verb> --help\` says the same. What the codes
of errors mean is in [Error codes](codes.md).

A flag is taken from the command line first, then from the environment (\`HYPERSEAPORT_REGISTRY_SEED\` for
\`--registrySeed\`), then from the config file (\`registrySeed=…\`). Flags are written in camelCase, or with dashes
(\`--registry-seed\`), as \`--flag value\` or \`--flag=value\`. A flag marked with ¹ is read from the command line only; one
marked with \\* may be repeated, and takes a list with commas in the environment and the config file. Seeds and keys are
hex or z-base-32, or \`@file\` to read them from a file.

Data goes to stdout, and talk to stderr. The exit code is 0 when all is well, 1 after a failure, and 2 after a mistake on
the command line.
`

/** @returns {Promise<string>} the page */
export async function makePage() {
  const { loadVerbs } = await import(pathToFileURL(resolve(ROOT, 'dist/bin/verbs.js')).href)
  const { signature } = await import(pathToFileURL(resolve(ROOT, 'dist/bin/help.js')).href)
  const { SUMMARIES } = await import(pathToFileURL(resolve(ROOT, 'dist/bin/summaries.js')).href)
  const commands = await loadVerbs()
  const contents = commands.map(({ verb }) => `| [${verb}](#${verb}) | ${cell(SUMMARIES[verb])} |`)
  return [
    HEAD,
    table(['verb', 'does'], contents),
    ...commands.map((command, index) =>
      section(command, SUMMARIES[command.verb], signature(command), index === 0)
    )
  ].join('\n')
}

function section(command, summary, signed, isDefault) {
  const { flags, examples, isLasting, verb } = command
  const usage = ['hyperseaport', signed, '[flags]']
  const rest = Object.entries(flags).find(([, { kind }]) => kind === 'rest')
  if (rest) usage.push(`[-- ${rest[0]} …]`)
  const notes = [
    ...(isDefault ? ['This verb is meant where none is given.'] : []),
    ...(isLasting ? ['It runs until it is stopped.'] : [])
  ]
  const rows = Object.entries(flags).map(([name, flag]) => flagRow(name, flag))
  const lines = examples.map(([line, does]) => `# ${does}\nhyperseaport ${line}`)
  return `
## ${verb}

${[`${summary}.`, ...notes].join(' ')}

\`\`\`text
${usage.join(' ')}
\`\`\`

${table(['flag', 'what it says', 'without it'], rows)}
\`\`\`sh
${lines.join('\n')}
\`\`\`
`
}

function flagRow(name, { alias, kind, describe, otherwise, needed, commandLineOnly }) {
  const called = kind === 'rest' ? `-- ${name}` : `--${name}`
  const marks = `${kind === 'list' ? '\\*' : ''}${commandLineOnly ? '¹' : ''}`
  const names = [`\`${called}\``, ...(alias ? [`\`-${alias}\``] : [])].join(', ')
  const without = otherwise ?? (needed ? 'it is needed' : kind === 'switch' ? 'off' : '')
  return `| ${names}${marks} | ${cell(describe)} | ${cell(without)} |`
}

function table(heads, rows) {
  return `| ${heads.join(' | ')} |\n|${heads.map(() => '---|').join('')}\n${rows.join('\n')}\n`
}

function cell(text) {
  return text.replaceAll('|', '\\|').replaceAll('*', '\\*').replaceAll('<', '&lt;')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const page = await makePage()
  if (!process.argv.includes('--check')) writeFileSync(PAGE, page)
  else if (readFileSync(PAGE, 'utf8') !== page) {
    console.error('docs/reference/cli.md is not what the code says: run npm run docs:cli')
    process.exitCode = 1
  }
}
