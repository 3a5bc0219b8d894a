/**
 * Makes sure that who installs the package gets the dependencies that were tested, those of dependencies too.
 *
 * npm obeys npm-shrinkwrap.json in a package that comes from a registry. In one that is installed from a tarball,
 * npm 11 does not look for that file. So the package's own package.json names each of them with its version, too.
 *
 * `node release/pin.mjs [--undo] [FOLDER]`: `prepack` pins, and `postpack` undoes that, for in a clone
 * npm-shrinkwrap.json would take the place of package-lock.json.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  options: { undo: { type: 'boolean' } },
  allowPositionals: true
})
const [folder = '.'] = positionals
const TOP = 'node_modules/'

const manifest = read('package.json')
const lock = read('package-lock.json')
if (values.undo) {
  const { dependencies, optionalDependencies } = lock.packages['']
  write('package.json', { ...manifest, dependencies, optionalDependencies })
  rmSync(join(folder, 'npm-shrinkwrap.json'), { force: true })
} else {
  pin()
}

function pin() {
  const { devDependencies: _, ...root } = lock.packages['']
  // npm would install what is for development only, too.
  const used = Object.entries(lock.packages).filter(([path, entry]) => path !== '' && !entry.dev)
  // Those below another package are older versions that only it uses. A manifest cannot name them.
  const named = used.filter(([path]) => path.lastIndexOf(TOP) === 0)
  const pins = {
    dependencies: versionsOf(named.filter(([, entry]) => !entry.optional)),
    optionalDependencies: versionsOf(named.filter(([, entry]) => entry.optional))
  }
  write('package.json', { ...manifest, ...pins })
  const packages = { '': { ...root, ...pins }, ...Object.fromEntries(used) }
  write('npm-shrinkwrap.json', { ...lock, packages })
}

function versionsOf(entries) {
  return Object.fromEntries(entries.map(([path, { version }]) => [path.slice(TOP.length), version]))
}

function read(file) {
  return JSON.parse(readFileSync(join(folder, file), 'utf8'))
}

function write(file, value) {
  writeFileSync(join(folder, file), `${JSON.stringify(value, null, 2)}\n`)
}
