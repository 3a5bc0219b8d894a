/** `npm run test:one FILE …`: builds what has changed, and runs these test files, named by source or by what was built. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
const files = process.argv.slice(2).filter((arg) => !arg.startsWith('-'))
const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'))

if (files.length === 0) {
  console.error('which test? npm run test:one test/core/keys.test.ts')
  process.exit(2)
}
run('npm', ['run', '--silent', 'build'])
const built = files.map((file) =>
  relative(ROOT, resolve(file))
    .replace(/^(?!dist\/)/, 'dist/')
    .replace(/(\.test)?(\.[jt]s)?$/, '.test.js')
)
for (const path of built.filter((path) => !existsSync(resolve(ROOT, path)))) {
  console.error(`there is no ${path} after the build: which test do you mean?`)
  process.exit(2)
}
run('npx', ['tap', '--jobs=1', ...flags, ...built])

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
