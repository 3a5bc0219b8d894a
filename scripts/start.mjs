/**
 * `npm start`: builds what has changed, and runs the demo. It says what it does and how far it is, since the
 * first build takes a while on a machine that has not read the compiler from its disk yet.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
const PROGRAM = resolve(ROOT, 'dist/bin/hyperseaport.js')
const REMINDER_MS = 2000

console.error('1 of 2: building from the sources; 10 to 60 s the first time, less after that')
const startedAt = Date.now()
const reminder = setInterval(() => {
  console.error(`        still building, ${Math.round((Date.now() - startedAt) / 1000)} s so far`)
}, REMINDER_MS)
const build = spawn('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
const [code] = await once(build, 'close')
clearInterval(reminder)
if (code === 0) {
  console.error('2 of 2: starting the demo: a private DHT, a registry, services and a gateway')
  // In this process, so that a signal reaches it as it reaches us.
  process.argv.splice(1, 1, PROGRAM, 'demo')
  await import(PROGRAM)
} else {
  console.error('the build failed, see above')
  process.exitCode = 1
}
