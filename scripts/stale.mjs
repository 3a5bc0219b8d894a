/**
 * Deletes from dist/ what was built from sources that are gone, so that the compiler need not begin anew for
 * a test that was moved or deleted to be no longer run.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')
const SOURCES = ['.ts', '.tsx']
/** What is made of them. */
const BUILT = /\.(js|js\.map|d\.ts)$/

for (const folder of ['bin', 'lib', 'test', 'examples', 'bench']) {
  const built = join(DIST, folder)
  if (!existsSync(built)) continue
  for (const entry of readdirSync(built, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const sources = SOURCES.map((end) => join(ROOT, path.slice(DIST.length)).replace(BUILT, end))
    if (entry.isFile() && BUILT.test(path) && !sources.some((source) => existsSync(source))) {
      rmSync(path)
    }
  }
}
