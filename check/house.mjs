/**
 * Holds lib/ and bin/ to the plan of the house (docs/internals/house.md). `node check/house.mjs [FOLDER]` prints each
 * import upwards, circle, side door and overlong file, and exits with 1 if there is one.
 *
 * A rule of its own, and not the linter's `noRestrictedImports`: that one sees the text of an import and not the
 * file behind it, so it took 400 lines of patterns to say what LADDER says, and missed circles of types.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'

/** A room imports from the rows above its own, and from itself. Rooms of one row never import each other. */
export const LADDER = [
  ['core', 'client'],
  ['registry/trust', 'link'],
  ['registry/log', 'registry/swarm'],
  ['registry/replica'],
  ['registry/registrar'],
  ['dialing', 'serving'],
  ['messaging', 'proxy', 'http'],
  ['gateway'],
  ['dashboard'],
  ['faces'],
  ['hosting'],
  ['faces of hosting'],
  ['index'],
  ['bin']
]
/** The registry and the links know nothing of each other, whatever their rows. */
const APART = ['registry', 'link']
/** What each file at the top of lib/ is. */
const FACES_OF_HOSTING = ['lib/host.ts', 'lib/apps.ts']
/** The command line calls faces. It opens no room behind them. */
const SEEN_BY_BIN = ['bin', 'index', 'faces', 'faces of hosting']
/** The doors of the registry: what others import of it, and no more. docs/internals/house.md says what each is for. */
const REGISTRY_DOORS = 12
const MAX_LINES = 400
/**
 * What dependencies and Node do not promise, and the files that may use it (docs/internals/stack.md). A name that
 * begins with an underscore is of that kind whatever it is, except on `this` and `super`.
 */
const HOLEPUNCH = [
  'lib/core/holepunch.ts',
  'lib/core/dht-node.ts',
  'lib/core/random-punch.ts',
  'lib/registry/log/hypercore.ts',
  'lib/registry/log/store.ts'
]
const UNPROMISED = {
  _handle: ['lib/link/direct/tcp-socket.ts'],
  addRequest: ['lib/http/agent.ts'],
  httpAllowHalfOpen: ['lib/gateway/gateway-server.ts'],
  onSocket: ['lib/http/agent.ts'],
  setFlagsFromString: ['bin/engine.ts'],
  ...Object.fromEntries(
    [
      'bbrBandwidth',
      'deleteTreeNode',
      'detachFrom',
      'getChildNode',
      'getRoot',
      'getTreeNode',
      'inflight',
      'mutex',
      'protomux',
      'putTreeNode',
      'replicator',
      'tryFlush'
    ].map((name) => [name, HOLEPUNCH])
  )
}
/** A text without any of these names need not be parsed. */
const SUSPECT = new RegExp(`\\b(_[a-zA-Z]|(${Object.keys(UNPROMISED).join('|')})\\b)`)
/** `paceOf` of core/holepunch.ts returns one of these, too. */
const OURS_TOO = { inflight: ['lib/link/backlog.ts'] }

/**
 * @param {string} root the folder that has lib/ and bin/
 * @returns {{ faults: string[], doors: string[] }} what is wrong, a line each, and the doors of the registry
 */
export function inspect(root) {
  const files = [...list(root, 'lib'), ...list(root, 'bin')]
  const imports = new Map(files.filter(isCode).map((file) => [file, importsOf(root, file)]))
  const faults = [...imports].flatMap(([file, targets]) =>
    targets.map((target) => refusal(file, target)).filter((fault) => fault !== null)
  )
  const doors = doorsOf(imports)
  if (doors.length > REGISTRY_DOORS) {
    faults.push(
      `registry/ has ${doors.length} doors, at most ${REGISTRY_DOORS} are allowed: ${doors.join(', ')}`
    )
  }
  for (const circle of circles(imports)) faults.push(`circle: ${circle.join(' → ')}`)
  for (const file of files) {
    const lines = readFileSync(join(root, file), 'utf8').split('\n').length - 1
    if (lines > MAX_LINES)
      faults.push(`${file} has ${lines} lines, at most ${MAX_LINES} are allowed`)
    if (isCode(file)) faults.push(...unpromisedIn(root, file))
  }
  return { faults, doors }
}

/** @returns {string | null} why one file may not import the other */
function refusal(file, target) {
  const [from, to] = [roomOf(file), roomOf(target)]
  if (from === to) return null
  const said = `${file} (${from}) imports ${target} (${to})`
  if (from === 'bin') return SEEN_BY_BIN.includes(to) ? null : `${said}: take it from a face`
  if (file.startsWith('lib/dashboard/app/')) return `${said}: the page runs in browsers`
  if (rowOf(to) >= rowOf(from)) return `${said}: imports go down the ladder only`
  const [one, other] = [from, to].map((room) => room.split('/')[0])
  return one !== other && APART.includes(one) && APART.includes(other)
    ? `${said}: they stay apart`
    : null
}

function rowOf(room) {
  const row = LADDER.findIndex((rooms) => rooms.includes(room))
  if (row < 0) throw new Error(`${room} is not on the ladder: check/house.mjs`)
  return row
}

function roomOf(file) {
  if (file.startsWith('bin/')) return 'bin'
  if (file === 'lib/index.ts') return 'index'
  if (FACES_OF_HOSTING.includes(file)) return 'faces of hosting'
  const [, ...folders] = file.split('/').slice(0, -1)
  if (folders.length === 0) return 'faces'
  return folders[0] === 'registry' ? folders.slice(0, 2).join('/') : folders[0]
}

/** Members that only other files may use, a line each. */
function unpromisedIn(root, file) {
  const text = readFileSync(join(root, file), 'utf8')
  if (!SUSPECT.test(text)) return []
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest)
  const found = []
  const visit = (node) => {
    const name = memberOf(node)
    const places = Object.hasOwn(UNPROMISED, name) ? UNPROMISED[name] : HOLEPUNCH
    const isUnpromised = Object.hasOwn(UNPROMISED, name) || /^_[a-zA-Z]/.test(name)
    if (isUnpromised && ![...places, ...(OURS_TOO[name] ?? [])].includes(file)) {
      found.push(`${file} uses ${name}, which is not promised: only ${places.join(' and ')} may`)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** What of an object a node of the syntax names, '' if it is no such node or the object is our own. */
function memberOf(node) {
  if (ts.isPropertyAccessExpression(node)) {
    const { kind } = node.expression
    const isOwn = kind === ts.SyntaxKind.ThisKeyword || kind === ts.SyntaxKind.SuperKeyword
    return isOwn ? '' : node.name.text
  }
  if (ts.isElementAccessExpression(node) && ts.isStringLiteral(node.argumentExpression)) {
    return node.argumentExpression.text
  }
  if (ts.isImportSpecifier(node)) return (node.propertyName ?? node.name).text
  if (ts.isBindingElement(node)) return (node.propertyName ?? node.name).text ?? ''
  return ''
}

/** Files of the registry that others import. */
function doorsOf(imports) {
  const isInside = (file) => file.startsWith('lib/registry/')
  const outside = [...imports].filter(([file]) => !isInside(file))
  return [...new Set(outside.flatMap(([, targets]) => targets.filter(isInside)))].sort()
}

/** Each circle once, from where it was first met. Imports of types count. */
function circles(imports) {
  const found = []
  const done = new Set()
  const visit = (file, path) => {
    const start = path.indexOf(file)
    if (start >= 0) return found.push([...path.slice(start), file])
    if (done.has(file)) return
    for (const target of imports.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return found
}

/** The files of the house that a file imports, loads later or takes types from. */
function importsOf(root, file) {
  const text = readFileSync(join(root, file), 'utf8')
  const { importedFiles } = ts.preProcessFile(text, true, true)
  return importedFiles
    .map(({ fileName }) => fileName)
    .filter((name) => name.startsWith('.'))
    .map((name) => normalize(join(dirname(file), name)).replaceAll(sep, '/'))
    .map((path) => path.replace(/\.js$/, '.ts'))
    .filter((path) => path.startsWith('lib/') || path.startsWith('bin/'))
}

function list(root, folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(folder, entry.parentPath.slice(join(root, folder).length), entry.name))
    .map((path) => normalize(path).replaceAll(sep, '/'))
}

function isCode(file) {
  return /\.tsx?$/.test(file)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { faults } = inspect(process.argv[2] ?? '.')
  for (const fault of faults) console.error(fault)
  process.exitCode = faults.length > 0 ? 1 : 0
}
