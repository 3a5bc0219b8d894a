import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import ignore, { type Ignore } from 'ignore'
import { SeaportError } from '../../core/errors.js'

/** The file that says what a bundle leaves out. Without it `.gitignore` is used. */
const OWN_FILE = '.seaportignore'
const GIT_FILE = '.gitignore'
/** Repositories, and our own settings, which may hold the seed of a registry. */
const NEVER = ['.git', '.hg', '.svn', '.hyperseaport', '.hyperseaportrc']
const ENVIRONMENT = /^\.env/i
const KEY_FILE = /^(id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.*\.(key|p12|pfx|ppk|jks|keystore))$/i
const PEM_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/

/** Why a file of this name is never in a bundle, whatever the ignore files say; null if it may be. */
export function neverOf(name: string): string | null {
  if (NEVER.includes(name)) return 'it is never part of a bundle'
  if (ENVIRONMENT.test(name)) return 'it may hold secrets'
  return KEY_FILE.test(name) ? 'it may be a private key' : null
}

/** Why a file that begins like this is never in a bundle; null if it may be. */
export function neverOfHead(head: Buffer): string | null {
  return PEM_KEY.test(head.toString('latin1')) ? 'it holds a private key' : null
}

/** The ignore files of a folder and of those around it, up to the root of the bundle, as git reads them. */
export class IgnoreRules {
  /** The rules of each folder, the outermost first, with the folder's path in the bundle: `''` or `a/b/`. */
  readonly #levels: readonly { at: string; rules: Ignore }[]
  readonly #file: string

  private constructor(file: string, levels: readonly { at: string; rules: Ignore }[]) {
    this.#file = file
    this.#levels = levels
  }

  /** @throws STORAGE_FAILED */
  static async of(root: string): Promise<IgnoreRules> {
    const file = (await textIn(root, OWN_FILE)) === null ? GIT_FILE : OWN_FILE
    return new IgnoreRules(file, []).below(root, '')
  }

  /**
   * The rules inside a folder.
   *
   * @param at its path in the bundle: `a/b/`
   */
  async below(root: string, at: string): Promise<IgnoreRules> {
    const text = await textIn(join(root, at), this.#file)
    if (text === null) return this
    return new IgnoreRules(this.#file, [...this.#levels, { at, rules: ignore().add(text) }])
  }

  /**
   * Whether the rules leave out a path. The path of a folder ends with a slash. The innermost rule that matches
   * decides.
   */
  leaveOut(path: string): boolean {
    for (const { at, rules } of [...this.#levels].reverse()) {
      const { ignored, unignored } = rules.test(path.slice(at.length))
      if (ignored || unignored) return ignored
    }
    return false
  }
}

async function textIn(folder: string, name: string): Promise<string | null> {
  try {
    return await readFile(join(folder, name), 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw SeaportError.STORAGE_FAILED(`${name} cannot be read: ${message}`, error)
  }
}
