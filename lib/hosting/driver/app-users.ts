import { spawnSync } from 'node:child_process'
import { chmod, chown, mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { unlessOpenLimit } from '../../core/open-limit.js'
import { replaceFile } from '../../core/replace-file.js'
import { SerialQueue } from '../../core/serial-queue.js'

/** Users below are of the machine itself. */
const LEAST_UID = 1000
const MAX_UID = 2 ** 31
const FILE = 'uids.json'
/** What apps reach inside of the host's folder. Its names are not listed for them. */
const OPEN = ['bundles', 'instances', 'jobs']
/** The mode of a folder in which others reach what they know the name of. */
export const UNLISTED = 0o711

/**
 * A user of its own for each app of a host that is root. The same app has the same one as long as the host keeps its
 * folder, because its data is that user's.
 */
export class AppUsers {
  readonly #dir: string
  readonly #first: number
  readonly #last: number
  readonly #queue = new SerialQueue()

  /**
   * @param dir the host's folder
   * @param range as in `61000-61999`
   * @throws USAGE
   */
  constructor(dir: string, range: string) {
    const [, first, last] = /^(\d{1,10})-(\d{1,10})$/.exec(range) ?? []
    this.#dir = dir
    this.#first = Number(first)
    this.#last = Number(last)
    if (!(this.#first >= LEAST_UID && this.#first <= this.#last && this.#last < MAX_UID)) {
      throw SeaportError.USAGE(
        `which users may apps be? Two numbers from ${LEAST_UID}, as in 61000-61999, not ${JSON.stringify(range)}`
      )
    }
  }

  /**
   * Lets users reach the folders of apps, and nothing else in the host's folder.
   *
   * @throws BAD_CONFIG
   */
  async prepare() {
    for (const name of OPEN) await mkdir(join(this.#dir, name), { recursive: true })
    for (const entry of await readdir(this.#dir, { withFileTypes: true })) {
      const mode = OPEN.includes(entry.name) ? UNLISTED : entry.isDirectory() ? 0o700 : 0o600
      if (entry.isDirectory() || entry.isFile()) await chmod(join(this.#dir, entry.name), mode)
    }
    await chmod(this.#dir, UNLISTED)
    const [program = '', ...words] = [...asUser(this.#first), 'test', '-x', this.#dir]
    const tried = spawnSync(program, words)
    if (tried.status === 0) return
    throw SeaportError.BAD_CONFIG(
      `other users do not reach ${this.#dir}: choose a folder with --dir, as in /var/lib/hyperseaport`
    )
  }

  /** @throws COMMAND_FAILED if no user is left, STORAGE_FAILED */
  uidOf(app: string): Promise<number> {
    return this.#queue.run(async () => {
      const file = join(this.#dir, FILE)
      const kept = await readFile(file, 'utf8').catch((cause) => {
        // Anew, they would have the users of others.
        unlessOpenLimit(cause)
        return '{}'
      })
      const users = new Map<string, number>(Object.entries(JSON.parse(kept)))
      const known = users.get(app)
      if (known !== undefined) return known
      const taken = new Set(users.values())
      let uid = this.#first
      while (taken.has(uid)) uid++
      if (uid > this.#last) {
        throw SeaportError.COMMAND_FAILED(
          `no user is left for ${app}: --uids has ${this.#last - this.#first + 1}, and each app that was here has one`
        )
      }
      users.set(app, uid)
      await replaceFile(file, JSON.stringify(Object.fromEntries(users)))
      return uid
    })
  }
}

/** Gives a folder of data to the user of an app, and lets that user reach it. */
export async function giveData(uid: number, data: string) {
  await chmod(dirname(data), UNLISTED)
  await chown(data, uid, uid)
}

/** What a command line begins with to run as a user, without rights or a way to gain any. */
export function asUser(uid: number): string[] {
  const user = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  return ['setpriv', ...user, '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--']
}
