import { mkdir } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { homeFolder } from '../../core/home-folder.js'
import { toHex } from '../../core/keys.js'

/** Only this user may read what the registry's members alone should see. */
const PRIVATE_FOLDER = 0o700
export const PRIVATE_FILE = 0o600

/**
 * The folder of all that this user keeps of a registry, by default.
 *
 * @throws STORAGE_FAILED if this user has no folder for data
 */
export function registryDir(registry: Buffer): string {
  return join(userDir(), toHex(registry))
}

/**
 * The folder of all that this user keeps, by default.
 *
 * @throws STORAGE_FAILED if this user has no folder for data
 */
export function userDir(): string {
  return join(dataHome(), 'hyperseaport')
}

/**
 * The folder where a kind of participant keeps its copy of a registry, by default.
 *
 * @throws STORAGE_FAILED if this user has no folder for data
 */
export function defaultDir(registry: Buffer, verb: string): string {
  return join(registryDir(registry), verb)
}

/**
 * As mkdir's `recursive`, which tries for ever where a folder that is there takes none, as in /proc, and
 * cannot be ended.
 */
export async function makeFolder(dir: string) {
  try {
    await mkdir(dir, { mode: PRIVATE_FOLDER })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(dir) === dir) throw cause
    await makeFolder(dirname(dir))
    await mkdir(dir, { mode: PRIVATE_FOLDER }).catch(unlessThere)
  }
}

function unlessThere(cause: NodeJS.ErrnoException) {
  if (cause.code !== 'EEXIST') throw cause
}

function dataHome(): string {
  const { XDG_DATA_HOME, LOCALAPPDATA } = process.env
  // As its specification says, a relative one is passed over.
  if (XDG_DATA_HOME && isAbsolute(XDG_DATA_HOME)) return XDG_DATA_HOME
  if (process.platform === 'darwin') return join(home(), 'Library', 'Application Support')
  if (process.platform === 'win32') return LOCALAPPDATA ?? join(home(), 'AppData', 'Local')
  return join(home(), '.local', 'share')
}

/** Users that no list of the system names have none, as in containers, unless HOME says where. */
function home(): string {
  try {
    return homeFolder()
  } catch (cause) {
    throw SeaportError.STORAGE_FAILED(
      'this user has no home folder to keep data in; name a folder with --dir or HYPERSEAPORT_DIR, or set HOME',
      cause
    )
  }
}
