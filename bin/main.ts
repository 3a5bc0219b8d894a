import { setTimeout } from 'node:timers/promises'
import { Lifetime } from './lifetime.js'
import { allRead, isFull, notWritten } from './output.js'
import { Program } from './program.js'
import { say } from './talk.js'

const EXIT_BY_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }
/** How long the last lines of who was stopped wait for their reader. */
const LAST_LINES_MS = 1000

const lifetime = new Lifetime()
const program = new Program(lifetime)
/** The signal that stopped us. */
let stoppedBy: keyof typeof EXIT_BY_SIGNAL | null = null

process.on('uncaughtException', fail)
// Whoever read our output has left, as `head` does: not a failure, but nobody to go on for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || error.code === 'EIO') lifetime.stop().catch(fail)
  else if (program.isLasting && isFull(error)) say(notWritten(error).message)
  else fail(isFull(error) ? notWritten(error) : error)
})
// We end by process.exit. If nothing is left that could go on, we have lost what was to come, which is no success.
process.on('beforeExit', () =>
  fail(new Error('nothing is left to wait for, and it is not done: a fault of this program'))
)
// Talk that nobody hears is no reason to end.
process.stderr.on('error', () => {})
for (const signal of Object.keys(EXIT_BY_SIGNAL) as (keyof typeof EXIT_BY_SIGNAL)[]) {
  process.on(signal, () => {
    if (lifetime.stopped) process.exit(EXIT_BY_SIGNAL[signal])
    if (signal === 'SIGHUP' && lifetime.reread) return lifetime.reread()
    stoppedBy = signal
    lifetime.stop().catch(fail)
  })
}

try {
  await program.run(process.argv.slice(2))
} catch (error) {
  // What was cut short by a stop failed on purpose; what was to answer says by its exit code that it did not.
  if (!lifetime.stopped) process.exitCode = tell(error)
  else if (stoppedBy && program.isShort) process.exitCode = EXIT_BY_SIGNAL[stoppedBy]
}
// A pipe takes 64 KiB at a time, and what its reader has not taken would be lost with this process.
const patience = lifetime.stopped ? setTimeout(LAST_LINES_MS) : lifetime.untilStopped()
const isRead = await Promise.race([allRead().then(() => true), patience])
if (!isRead && stoppedBy && program.isShort) process.exitCode = EXIT_BY_SIGNAL[stoppedBy]
// A last line that could not be written is told of a moment later.
await new Promise(setImmediate)
process.exit()

function fail(error: unknown): never {
  process.exit(tell(error))
}

/** Tells why it failed, and returns the exit code. */
function tell(error: unknown): number {
  const { text, exitCode } = program.failureOf(error)
  console.error(text)
  return exitCode
}
