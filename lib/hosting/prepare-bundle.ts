import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SeaportError } from '../core/errors.js'
import { type AppFile, readAppFile } from './app-file.js'
import { ChunkStore } from './bundle/chunk-store.js'
import { type Bundle, packFolder } from './bundle/pack.js'
import { PackMemory } from './bundle/pack-memory.js'

/** How long chunks of former bundles stay, so that what comes back is not cut and written again; in ms. */
const UNUSED_MS = 7 * 24 * 3_600_000
/** The largest output of a build, in bytes. */
const MAX_OUTPUT = 64 * 2 ** 20

const run = promisify(execFile)

/** A folder that was packed, and is yet to be pushed. */
export interface PreparedBundle {
  file: AppFile
  bundle: Bundle
  store: ChunkStore
  /**
   * Deletes what was in no bundle for a week. It looks at all that is stored, so nobody should have to wait for that
   * before the push.
   *
   * @throws STORAGE_FAILED
   */
  expire: () => Promise<void>
}

/**
 * Reads the app file of a folder, builds it where the file says how, and packs it.
 *
 * @param dir the folder that keeps its chunks for hosts that fetch them
 * @param onprogress called with what happens, for people to read
 * @throws BAD_CONFIG, BAD_BUNDLE, COMMAND_FAILED, DISK_FULL, STORAGE_FAILED
 */
export async function prepareBundle(
  folder: string,
  dir: string,
  onprogress: (text: string) => void
): Promise<PreparedBundle> {
  const file = await readAppFile(folder)
  await buildApp(folder, file, onprogress)
  await mkdir(dir, { recursive: true })
  const store = new ChunkStore(join(dir, 'chunks'), { minFree: 0 })
  const memory = await PackMemory.open(join(dir, `${encodeURIComponent(file.name)}.json`))
  const bundle = await packFolder(folder, { store, memory })
  const hashes = [bundle.list, ...bundle.chunks.map(({ hash }) => hash)]
  await store.use(hashes)
  for (const { path, why } of bundle.leftOut) onprogress(`left out: ${path} (${why})`)
  onprogress(`${bundle.files} files, ${bundle.size} bytes, ${bundle.chunks.length} chunks`)
  return { file, bundle, store, expire: () => store.expire(hashes, UNUSED_MS) }
}

/**
 * Runs the command that an app file names to build its app with.
 *
 * @returns whether there is one
 * @throws COMMAND_FAILED
 */
export async function buildApp(
  folder: string,
  { build }: AppFile,
  onprogress: (text: string) => void
): Promise<boolean> {
  if (!build) return false
  onprogress(`building: ${build.join(' ')}`)
  const [program = '', ...args] = build
  await run(program, args, { cwd: folder, maxBuffer: MAX_OUTPUT }).catch((error) => {
    throw SeaportError.COMMAND_FAILED(`build: ${error.stderr || error.message}`, error)
  })
  return true
}
