import { checkOwnName } from './names.js'

/** The interface that schema libraries share (https://standardschema.dev). */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** The input and output of a command, which both ends validate. */
export interface CommandTerms<I = unknown, O = unknown> {
  input?: StandardSchema<unknown, I> | undefined
  output?: StandardSchema<unknown, O> | undefined
  /** Whether it may be executed twice. Such a command is sent to another instance when one does not answer. */
  idempotent?: boolean | undefined
}

/** One command of a contract. */
export interface CommandContract<I = unknown, O = unknown> extends CommandTerms<I, O> {
  readonly name: string
}

/** The type of the values that a schema makes. */
type Made<S> = S extends StandardSchema<infer _, infer O> ? O : unknown

/** Commands by their names. */
// biome-ignore lint/suspicious/noExplicitAny: they may have any types, which `Contract` infers
export type Terms = Record<string, CommandTerms<any, any>>

export type Contract<T extends Terms> = {
  readonly [N in keyof T]: CommandContract<Made<T[N]['input']>, Made<T[N]['output']>>
}

/**
 * Describes the commands of a role by name. Both ends import it: it gives them types, and both validate by it.
 *
 * @throws USAGE
 */
export function contract<const T extends Terms>(commands: T): Contract<T> {
  const named = Object.entries(commands).map(([name, terms]) => [
    name,
    Object.freeze({ ...terms, name: checkOwnName(name, 'a command') })
  ])
  return Object.freeze(Object.fromEntries(named)) as Contract<T>
}

/**
 * Validates a value by a schema.
 *
 * @returns the value as the schema has converted it
 * @throws Error that says what is wrong and where
 */
export async function validate<T>(
  schema: StandardSchema<unknown, T> | undefined,
  value: unknown
): Promise<T> {
  if (!schema) return value as T
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  throw new Error(result.issues.slice(0, MAX_ISSUES).map(said).join('; '))
}

const MAX_ISSUES = 5

function said({ path = [], message }: SchemaIssue): string {
  const where = path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
  return where === '' ? message : `${where}: ${message}`
}

/** The JSON Schema of a schema, if it offers one, to be shown to people. */
export function jsonSchemaOf(schema: StandardSchema | undefined): unknown {
  const { toJSONSchema, toJsonSchema } = (schema ?? {}) as { [method: string]: unknown }
  const make = toJSONSchema ?? toJsonSchema
  try {
    return typeof make === 'function' ? make.call(schema) : undefined
  } catch {
    return undefined
  }
}
