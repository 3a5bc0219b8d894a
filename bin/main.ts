import './engine.js'
import { SeaportError } from '../lib/core/errors.js'
import { parseArguments } from './arguments.js'
import { access } from './commands/access.js'
import { bootstrap } from './commands/bootstrap.js'
import { demo } from './commands/demo.js'
import { exportRegistry } from './commands/export.js'
import { grant } from './commands/grant.js'
import { grants } from './commands/grants.js'
import { importRegistry } from './commands/import.js'
import { key } from './commands/key.js'
import { list } from './commands/list.js'
import { proxy } from './commands/proxy.js'
import { registry } from './commands/registry.js'
import { revoke } from './commands/revoke.js'
import { seed } from './commands/seed.js'
import { service } from './commands/service.js'
import { watch } from './commands/watch.js'
import { web } from './commands/web.js'
import { type Config, readConfig } from './config.js'
import { Lifetime } from './lifetime.js'
import { foldName, Settings } from './settings.js'
import { say } from './talk.js'

/** The first is the one that a command line without a verb means. */
const COMMANDS = [
  registry,
  service,
  proxy,
  web,
  list,
  watch,
  seed,
  key,
  grant,
  revoke,
  grants,
  exportRegistry,
  importRegistry,
  access,
  bootstrap,
  demo
]

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const EXIT_BY_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }
const USAGE_CODES = ['USAGE', 'BAD_KEY', 'BAD_ROLE', 'BAD_CONFIG']

const lifetime = new Lifetime()
let verbose = false
/** The signal that stopped us. */
let stoppedBy: keyof typeof EXIT_BY_SIGNAL | null = null

process.on('uncaughtException', fail)
// Whoever read our output has left, as `head` does: not a failure, but nobody to go on for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' && error.code !== 'EIO') fail(error)
  else lifetime.stop().catch(fail)
})
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
  await main(process.argv.slice(2))
} catch (error) {
  // What was cut short by a stop failed on purpose.
  if (!lifetime.stopped) fail(error)
}
process.exit()

async function main(line: string[]) {
  const parsed = parseArguments(line, COMMANDS)
  if (typeof parsed === 'string') return console.log(parsed)
  const { command, values } = parsed
  const environment = new Settings(command, values, process.env, null)
  const config = readConfig(environment.text('config', undefined))
  if (config) warnOfUnknownKeys(config)
  const settings = new Settings(command, values, process.env, config)
  verbose = settings.on('verbose')
  try {
    await command.run(settings, lifetime)
  } catch (error) {
    if (stoppedBy && !command.isLasting) process.exitCode = EXIT_BY_SIGNAL[stoppedBy]
    throw error
  } finally {
    await lifetime.end()
  }
}

/** A file serves all verbs, so what is another's is left alone, but what is nobody's is a slip. */
function warnOfUnknownKeys({ path, values }: Config) {
  const known = COMMANDS.flatMap(({ flags }) => Object.keys(flags).map(foldName))
  for (const key of Object.keys(values)) {
    if (!known.includes(foldName(key))) say(`${path}: ${key} is unknown to every verb`)
  }
}

/** One line, `CODE: text`. */
function fail(error: unknown): never {
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  console.error(verbose ? stack : message.replaceAll(/\s*\n\s*/g, ' '))
  const misused = error instanceof SeaportError && USAGE_CODES.includes(error.code)
  process.exit(misused ? EXIT_USAGE : EXIT_FAILURE)
}
