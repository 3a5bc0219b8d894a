import { nearest } from '../messaging/nearest.js'

/**
 * The part of JSON Schema that the app file needs. Here `title` says what a value has to be, as in `a number from 0 to
 * 65535`.
 */
export interface JsonSchema {
  title?: string
  description?: string
  type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean'
  enum?: readonly unknown[]
  anyOf?: readonly JsonSchema[]
  default?: unknown
  // For objects.
  properties?: Readonly<Record<string, JsonSchema>>
  required?: readonly string[]
  additionalProperties?: false | JsonSchema
  propertyNames?: { pattern: string }
  maxProperties?: number
  // For arrays.
  items?: JsonSchema
  minItems?: number
  maxItems?: number
  // For texts and numbers.
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
}

/**
 * What is wrong with a value, as one sentence; null if nothing is.
 *
 * @param path where the value is, as in `place.memory`; '' for the whole document
 */
export function fault(schema: JsonSchema, value: unknown, path = ''): string | null {
  if (schema.properties && isObject(value)) return faultOfFields(schema, value, path)
  return fits(schema, value) ? null : `${path || 'it'} must be ${schema.title ?? schema.type}`
}

function faultOfFields(
  schema: JsonSchema,
  value: Record<string, unknown>,
  path: string
): string | null {
  const { properties = {}, required = [] } = schema
  const at = (name: string) => (path === '' ? name : `${path}.${name}`)
  for (const [name, field] of Object.entries(value)) {
    if (!Object.hasOwn(properties, name)) {
      return `${JSON.stringify(at(name))} is not a field${nearest(name, Object.keys(properties))}`
    }
    const found = fault(properties[name] as JsonSchema, field, at(name))
    if (found) return found
  }
  const missing = required.find((name) => !Object.hasOwn(value, name))
  return missing === undefined ? null : `${at(missing)} is missing`
}

function fits(schema: JsonSchema, value: unknown): boolean {
  if (schema.anyOf) return schema.anyOf.some((one) => fits(one, value))
  if (schema.enum) return schema.enum.includes(value)
  switch (schema.type) {
    case 'boolean':
      return typeof value === 'boolean'
    case 'integer':
    case 'number':
      return typeof value === 'number' && isNumber(schema, value)
    case 'string':
      return typeof value === 'string' && isText(schema, value)
    case 'array':
      return Array.isArray(value) && isList(schema, value)
    case 'object':
      return isObject(value) && isMap(schema, value)
    default:
      return true
  }
}

function isNumber({ type, minimum, maximum }: JsonSchema, value: number): boolean {
  if (type === 'integer' && !Number.isSafeInteger(value)) return false
  return isWithin(value, minimum, maximum)
}

function isText({ pattern, minLength, maxLength }: JsonSchema, value: string): boolean {
  // JSON Schema counts characters, and a string's `length` counts code units.
  const length = [...value].length
  return (
    isWithin(length, minLength, maxLength) &&
    (pattern === undefined || new RegExp(pattern, 'u').test(value))
  )
}

function isList({ items = {}, minItems, maxItems }: JsonSchema, value: unknown[]): boolean {
  return isWithin(value.length, minItems, maxItems) && value.every((item) => fits(items, item))
}

function isMap(schema: JsonSchema, value: Record<string, unknown>): boolean {
  const { additionalProperties, propertyNames, maxProperties } = schema
  if (schema.properties) return faultOfFields(schema, value, '') === null
  const names = Object.keys(value)
  const pattern = propertyNames && new RegExp(propertyNames.pattern, 'u')
  if (!isWithin(names.length, 0, maxProperties)) return false
  if (pattern && !names.every((name) => pattern.test(name))) return false
  return names.every((name) => fits(additionalProperties || {}, value[name]))
}

function isWithin(
  value: number,
  least = Number.NEGATIVE_INFINITY,
  most = Number.POSITIVE_INFINITY
) {
  return value >= least && value <= most
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
