/**
 * Writes docs/reference/api/ from the types and comments of what lib/index.ts exports, a page for each face. `--check`
 * writes nothing, and exits with 1 where a page is not what it would be.
 *
 * It is a program of our own, and not typedoc: what callers see are interfaces over classes that are not exported,
 * which typedoc spreads over several pages a face, and it would bring 20 packages to save 200 lines.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'

const HOUSE = resolve(import.meta.dirname, '..')
const FOLDER = 'docs/reference/api'
/** The pages, what each is about, and which names are on it, by how they begin. */
const PAGES = [
  ['registry', 'Registry', ['Registry']],
  [
    'service',
    'Service',
    [
      'Service',
      'OriginOptions',
      'PortOrigin',
      'TargetOrigin',
      'CommandOrigin',
      'ServerOrigin',
      'StreamServer',
      'Health',
      'Exit'
    ]
  ],
  ['consumer', 'Consumer', ['Consumer', 'PortlessEntry', 'EntriesOf', 'EntryFor', 'Listen']],
  [
    'peer',
    'Peer and mail',
    ['Peer', 'Mail', 'MailMessage', 'SendMailOptions', 'Letter', 'SentLetter', 'BoxLimits']
  ],
  ['web', 'Web', ['Web', 'AccessEntry', 'CertificateSource']],
  ['admin', 'Admin', ['Admin']],
  ['bootstrap-node', 'BootstrapNode', ['BootstrapNode']],
  ['errors', 'SeaportError', ['SeaportError']],
  ['types', 'Keys and shared types', ['']]
]
const SHOWN =
  ts.TypeFormatFlags.NoTruncation |
  ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope |
  ts.TypeFormatFlags.UseSingleQuotesForStringLiteralType

/** Knows the types, once `makePages` has read the code. */
let checker

/** @returns {Map<string, string>} the text of each page, by file name */
export function makePages() {
  const program = load()
  checker = program.getTypeChecker()
  const entry = program.getSourceFile(join(HOUSE, 'lib/index.ts'))
  const all = checker
    .getExportsOfModule(checker.getSymbolAtLocation(entry))
    .map((symbol) => ({ name: symbol.name, symbol: original(symbol) }))
  const made = new Map()
  const done = new Set()
  for (const [file, title, beginnings] of PAGES) {
    const here = all.filter(
      ({ name }) => !done.has(name) && beginnings.some((b) => name.startsWith(b))
    )
    for (const { name } of here) done.add(name)
    // The face first, then what goes with it.
    here.sort((a, b) => rank(a.name, title) - rank(b.name, title) || (a.name < b.name ? -1 : 1))
    const sections = here.map(({ name, symbol }) => section(name, symbol))
    made.set(`${file}.md`, `# ${title}\n\n${NOTE}\n\n${sections.join('\n\n')}\n`)
  }
  const links = PAGES.map(([file, title]) => `- [${title}](${file}.md)`)
  made.set('README.md', `# The API\n\n${NOTE}\n\n${links.join('\n')}\n`)
  return made
}

function load() {
  const { config } = ts.readConfigFile(join(HOUSE, 'tsconfig.json'), ts.sys.readFile)
  const only = { ...config, files: ['lib/index.ts'], include: [] }
  const { options, fileNames } = ts.parseJsonConfigFileContent(only, ts.sys, HOUSE)
  return ts.createProgram(fileNames, options)
}

const NOTE =
  'This page is made from the code by `npm run docs:api`. Times are in ms unless a name says otherwise.'

function rank(name, title) {
  const order = [title, `${title}Constructor`, `${title}Options`, `${title}Events`]
  const place = order.indexOf(name)
  return place < 0 ? order.length : place
}

/** One exported name. */
function section(name, symbol) {
  const parts = [`## ${name}`]
  if (symbol.flags & ts.SymbolFlags.Variable) {
    parts.push(comment(symbol), ...calls(name, symbol))
  }
  if (symbol.flags & ts.SymbolFlags.Function) parts.push(...methods(name, symbol, ''))
  if (symbol.flags & ts.SymbolFlags.TypeAlias) {
    parts.push(comment(symbol), code(declarationText(symbol)))
  }
  if (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) {
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    const base = baseOf(symbol)
    // A variable of the same name has said what it is.
    if (!(symbol.flags & ts.SymbolFlags.Variable)) parts.push(comment(symbol))
    if (base) parts.push(comment(base))
    if (symbol.flags & ts.SymbolFlags.Class) parts.push(statics(symbol))
    if (name.endsWith('Events') && areEvents(type)) parts.push(events(type))
    else if (!name.endsWith('Constructor')) parts.push(...members(type))
    else parts.push(code(declarationText(symbol)))
  }
  return parts.filter((part) => part !== '').join('\n\n')
}

/** How a face is called. */
function calls(name, symbol) {
  const type = checker.getTypeOfSymbol(symbol)
  const [signature] = type.getCallSignatures()
  if (!signature) return []
  const construct = type.getConstructSignatures()[0]
  const made = construct && original(construct.getReturnType().symbol)
  const text = checker.signatureToString(signature, undefined, SHOWN)
  const declaration = baseOf(made)?.declarations?.[0]
  const maker = declaration?.members?.find(ts.isConstructorDeclaration)
  return [code(`${name}${text}`), maker ? tags(ts.getJSDocTags(maker)) : '']
}

/** The class behind the interface that is exported under its name. */
function baseOf(symbol) {
  const declaration = symbol?.declarations?.find(ts.isInterfaceDeclaration)
  const base = declaration?.heritageClauses?.[0]?.types[0]
  const found = base && checker.getSymbolAtLocation(base.expression)
  return found && original(found).flags & ts.SymbolFlags.Class ? original(found) : null
}

function members(type) {
  return checker
    .getPropertiesOfType(type)
    .filter(isOurs)
    .flatMap((property) => {
      const name = nameOf(property)
      if (property.flags & ts.SymbolFlags.Method) return methods(name, property, '### ')
      const optional = property.flags & ts.SymbolFlags.Optional ? '?' : ''
      // As it is written, where it is: the compiler would spell out what has a name.
      const written = property.valueDeclaration?.type?.getText()
      const text =
        written ?? checker.typeToString(checker.getTypeOfSymbol(property), undefined, SHOWN)
      const shown = (optional ? text.replace(/ \| undefined$/, '') : text).replace(/\s+/g, ' ')
      return [
        [`### ${name}`, code(`${name}${optional}: ${shown}`), comment(property), own(property)]
          .filter((part) => part !== '')
          .join('\n\n')
      ]
    })
}

function methods(name, symbol, mark) {
  const signatures = checker.getNonNullableType(checker.getTypeOfSymbol(symbol)).getCallSignatures()
  const texts = signatures.map(
    (signature) => `${name}${checker.signatureToString(signature, undefined, SHOWN)}`
  )
  const parts = [mark ? `${mark}${name}` : '', code(texts.join('\n')), comment(symbol), own(symbol)]
  return [parts.filter((part) => part !== '').join('\n\n')]
}

/** Whether each member is the values of an event, as a tuple. */
function areEvents(type) {
  const nodes = checker.getPropertiesOfType(type).map(({ valueDeclaration }) => valueDeclaration)
  return nodes.every((node) => ts.isPropertySignature(node) && ts.isTupleTypeNode(node.type))
}

function events(type) {
  const rows = checker.getPropertiesOfType(type).map((property) => {
    const tuple = property.valueDeclaration.type.getText().replace(/^\[|\]$/g, '')
    return `| \`${property.name}\` | ${tuple === '' ? '' : `\`${cell(tuple)}\``} | ${cell(comment(property))} |`
  })
  return ['| event | values | when |', '|---|---|---|', ...rows].join('\n')
}

/** The factories of a class, which are its codes. */
function statics(symbol) {
  const rows = checker
    .getPropertiesOfType(checker.getTypeOfSymbol(symbol))
    .filter((property) => /^[A-Z_]+$/.test(property.name))
    .map((property) => `| \`${property.name}\` | ${cell(comment(property))} |`)
  return rows.length > 0 ? ['| code | means |', '|---|---|', ...rows].join('\n') : ''
}

function isOurs(property) {
  const declaration = property.declarations?.[0]
  if (!declaration || declaration.getSourceFile().fileName.includes('node_modules')) return false
  if (ts.isPrivateIdentifier(declaration.name ?? {})) return false
  const flags = ts.getCombinedModifierFlags(declaration)
  if (flags & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) return false
  return !(ts.isPropertySignature(declaration) && declaration.type?.getText() === 'undefined')
}

/** `[Symbol.asyncDispose]` has a name of the compiler's own. */
function nameOf(property) {
  return property.declarations[0].name.getText()
}

function original(symbol) {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
}

function declarationText(symbol) {
  const declaration = symbol.declarations.find(
    (node) => ts.isTypeAliasDeclaration(node) || ts.isInterfaceDeclaration(node)
  )
  return declaration.getText().replace(/^export /, '')
}

function comment(symbol) {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim()
}

function own(symbol) {
  return tags((symbol.declarations ?? []).flatMap((node) => ts.getJSDocTags(node)))
}

function tags(found) {
  const lines = found.flatMap((tag) => {
    const text = (ts.getTextOfJSDocComment(tag.comment) ?? '').replace(/\s+/g, ' ').trim()
    switch (tag.tagName.text) {
      case 'param':
        return [`- \`${tag.name.getText()}\`: ${text.replace(/^[-–] /, '')}`]
      case 'returns':
        return [`- Returns ${text}`]
      case 'throws':
        return [`- Throws ${text.replaceAll(/\b[A-Z]+(?:_[A-Z]+)*\b(?<=[A-Z_]{3,})/g, '`$&`')}`]
      default:
        return []
    }
  })
  return lines.join('\n')
}

function code(written) {
  const text = written.replaceAll('Buffer<ArrayBufferLike>', 'Buffer')
  return `\`\`\`ts\n${text}\n\`\`\``
}

function cell(text) {
  return text.replaceAll('|', '\\|').replace(/\s+/g, ' ')
}

/** @returns {Map<string, string>} the pages as they are in the folder */
function pagesThere() {
  const folder = join(HOUSE, FOLDER)
  const files = existsSync(folder) ? readdirSync(folder) : []
  return new Map(files.map((file) => [file, readFileSync(join(folder, file), 'utf8')]))
}

/** @returns {string[]} the pages that are not what the code says */
export function stalePages(made = makePages()) {
  const there = pagesThere()
  const files = new Set([...made.keys(), ...there.keys()])
  return [...files].filter((file) => made.get(file) !== there.get(file))
}

function write() {
  const folder = join(HOUSE, FOLDER)
  const made = makePages()
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [file, text] of made) writeFileSync(join(folder, file), text)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (process.argv.includes('--check')) {
    const stale = stalePages()
    for (const file of stale) {
      console.error(`${FOLDER}/${file} is not what the code says: run npm run docs:api`)
    }
    process.exitCode = stale.length > 0 ? 1 : 0
  } else write()
}
