import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import { printableJson } from '../../core/printable.js'
import { isObject, type Statement } from '../trust/statement.js'
import { checkStatement } from '../trust/statement-kind.js'
import type { Statements } from '../trust/statements.js'
import type { Directory } from './directory.js'

export interface BackupOptions {
  /** The registry's public key. */
  registry: Buffer
  directory: Directory
  statements: Statements
  /** Has a registrar write a statement. */
  put: (statement: Statement) => Promise<void>
}

/** How much of a bad line is shown, in characters. */
const SHOWN_LENGTH = 60

/** What the registry says as lines of JSON, which can be kept elsewhere and brought back. */
export class Backup {
  readonly #options: BackupOptions

  constructor(options: BackupOptions) {
    this.#options = options
  }

  /** The statements of each kind that is exported, then the records. */
  export(): string[] {
    const { directory, statements } = this.#options
    const records = directory
      .list()
      .map(({ servicePublicKey }) => directory.entry(servicePublicKey))
    const others = statements.kinds
      .all()
      .filter(({ isExported }) => isExported)
      .flatMap((kind) => statements.list(kind))
    return [...others, ...records].map((statement) => printableJson(statement))
  }

  /**
   * Has what an export holds written again, as it was signed. Later statements stay. Records are passed over, as
   * they need a lease, and so are kinds that are unknown here.
   *
   * @returns how many were taken
   * @throws BAD_MESSAGE, BAD_SIGNATURE, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async import(lines: Iterable<string>): Promise<number> {
    const statements = [...lines]
      .filter((line) => line.trim() !== '')
      .map(parseLine)
      .flatMap((value) => this.#read(value))
      .sort((a, b) => a.rank - b.rank)
    let taken = 0
    for (const { statement } of statements) if (await this.#restore(statement)) taken++
    return taken
  }

  /** A right comes before what it is needed for: the registry's own word first, then grants, then all else. */
  #read(value: { type: string }): { statement: Statement; rank: number }[] {
    const { registry, statements } = this.#options
    const kind = statements.kinds.get(value.type)
    if (kind?.kept !== 'in logs') return []
    const statement = checkStatement(kind, value, registry)
    const isRegistrys = kind.signer(statement) === toHex(registry)
    return [{ statement, rank: isRegistrys ? -1 : statements.kinds.all().indexOf(kind) }]
  }

  /** Returns whether it was taken: it is not if a later one is there. */
  async #restore(statement: Statement): Promise<boolean> {
    try {
      await this.#options.put(statement)
      return true
    } catch (error) {
      if ((error as SeaportError).code === 'CONFLICT') return false
      throw error
    }
  }
}

function parseLine(line: string): { type: string } {
  try {
    const value: unknown = JSON.parse(line)
    if (isObject(value) && typeof value.type === 'string') return { ...value, type: value.type }
  } catch {
    // What is no JSON is refused below, with all else that is not a line of an export.
  }
  throw SeaportError.BAD_MESSAGE(
    `this is not a line of an export: ${JSON.stringify(line.slice(0, SHOWN_LENGTH))}`
  )
}
