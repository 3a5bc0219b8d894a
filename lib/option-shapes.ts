import { SeaportError } from './core/errors.js'

type Shape = 'text' | 'number' | 'object' | 'list' | 'texts' | 'objects' | 'false' | 'null'

const IS: Record<Shape, (value: unknown) => boolean> = {
  text: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && !Number.isNaN(value),
  object: isObject,
  list: Array.isArray,
  texts: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  objects: (value) => Array.isArray(value) && value.every(isObject),
  false: (value) => value === false,
  null: (value) => value === null
}

const NAMES: Record<Shape, string> = {
  text: 'a text',
  number: 'a number',
  object: 'an object',
  list: 'a list',
  texts: 'a list of texts',
  objects: 'a list of objects',
  false: 'false',
  null: 'null'
}

/** Options that mean the same wherever they are taken, and would be read before anything else looks at them. */
const SHAPES: Record<string, readonly Shape[]> = {
  access: ['text', 'null'],
  allow: ['list', 'null'],
  allowedHosts: ['texts'],
  apps: ['objects'],
  bootstrap: ['text', 'list', 'null'],
  channels: ['object'],
  command: ['texts'],
  cors: ['objects'],
  deadlines: ['objects'],
  domains: ['objects'],
  drivers: ['texts', 'null'],
  host: ['text', 'null'],
  hostnames: ['objects'],
  http2: ['texts'],
  kinds: ['objects'],
  labels: ['texts'],
  listen: ['text', 'false'],
  loadBalanceOptions: ['object'],
  maxHeaderBytes: ['number', 'null'],
  open: ['texts'],
  ports: ['list'],
  requestTimeout: ['number', 'null'],
  stdio: ['texts'],
  tls: ['object', 'null'],
  trustedProxies: ['texts'],
  writers: ['list', 'null']
}

/**
 * Makes sure that options are what their types say, for callers who have no types: who gives a text in place of a list
 * is told which option it is, and not what failed inside.
 *
 * @throws USAGE
 */
export function checkOptions(options: unknown) {
  if (!isObject(options)) {
    throw SeaportError.USAGE(`options are an object, not ${shown(options)}`)
  }
  for (const [name, shapes] of Object.entries(SHAPES)) {
    const value = (options as Record<string, unknown>)[name]
    if (value === undefined || shapes.some((shape) => IS[shape](value))) continue
    const wanted = shapes.filter((shape) => shape !== 'null').map((shape) => NAMES[shape])
    throw SeaportError.USAGE(`${name} must be ${wanted.join(' or ')}, not ${shown(value)}`)
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`
  if (isObject(value)) return 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
