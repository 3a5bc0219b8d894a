import { existsSync, readFileSync } from 'node:fs'
import { readPipeAhead, SeaportError } from '../lib/identity.js'
import { parseArguments } from './arguments.js'
import type { Command } from './command.js'
import { type Config, readConfig } from './config.js'
import type { Lifetime } from './lifetime.js'
import { foldName, injectedVariables, Settings } from './settings.js'
import { withoutKeys } from './shown-key.js'
import { say, waitAloud } from './talk.js'
import { loadVerbs } from './verbs.js'

/** What the largest file may have, that of `import`. */
const MAX_PIPE_BYTES = 256 * 1024 * 1024
const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const USAGE_CODES = ['USAGE', 'BAD_KEY', 'BAD_ROLE', 'BAD_CONFIG']

/** A command line, from its reading to its end. Signals and the exit of the process are main.ts's. */
export class Program {
  readonly #lifetime: Lifetime
  #command: Command | null = null
  #verbose = false

  /** @param lifetime it ends with the command */
  constructor(lifetime: Lifetime) {
    this.#lifetime = lifetime
  }

  /** Whether it answers and ends by itself. */
  get isShort(): boolean {
    return this.#command !== null && !this.isLasting
  }

  /** Whether it runs until it is told to stop. */
  get isLasting(): boolean {
    return this.#command?.isLasting === true
  }

  async run(line: string[]) {
    const parsed = await parseArguments(line)
    if (parsed.asks === 'help') return console.log(await help(parsed.command))
    if (parsed.asks === 'version') return console.log(version())
    const { command, values } = parsed
    this.#command = command
    const environment = new Settings(command, values, process.env, null)
    for (const variable of injectedVariables(process.env, command)) {
      say(`${variable}=${process.env[variable]} is no setting of ours, and is passed over`)
    }
    const named = environment.path('config', undefined)
    const isToCome = command.makesConfig === true && named !== undefined && !existsSync(named)
    if (named !== undefined) await this.#readAhead(named)
    const config = isToCome
      ? null
      : readConfig(named, (path, owner) =>
          say(`${path} is user ${owner}'s and is passed over; to use it, name it by --config`)
        )
    if (config) await warnOfUnknownKeys(config, command)
    const settings = new Settings(command, values, process.env, config)
    this.#verbose = settings.on('verbose')
    for (const file of settings.files()) await this.#readAhead(file)
    // What runs for long gains by it. To what does not, it is a large part of the time.
    if (command.isLasting) await import('./engine.js')
    try {
      await command.run(settings, this.#lifetime)
    } finally {
      await this.#lifetime.end()
    }
  }

  /** A pipe's writer may be long in coming. Settings are read all at once, and would be deaf to signals until then. */
  async #readAhead(path: string) {
    await waitAloud(
      readPipeAhead(path, this.#lifetime.signal, { maxBytes: MAX_PIPE_BYTES }),
      () => `${path} is a pipe, and nothing comes from it yet`
    )
  }

  /** What is printed of an error, one line `CODE: text`, and the exit code. */
  failureOf(error: unknown): { text: string; exitCode: number } {
    const { message, stack } = reasonOf(error)
    const isMisuse = error instanceof SeaportError && USAGE_CODES.includes(error.code)
    const text = this.#verbose ? `${stack}` : message.replaceAll(/\s*\n\s*/g, ' ')
    return {
      text: isMisuse ? withoutKeys(text) : text,
      exitCode: isMisuse ? EXIT_USAGE : EXIT_FAILURE
    }
  }
}

async function help(command: Command | null): Promise<string> {
  const { helpOf, helpOfAll } = await import('./help.js')
  return command ? helpOf(command) : helpOfAll()
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return JSON.parse(text).version
}

/** A file serves all verbs, so what is another's is left alone, but what is nobody's is a slip. */
async function warnOfUnknownKeys({ path, values }: Config, command: Command) {
  const keysOf = ({ flags }: Command) => Object.keys(flags).map(foldName)
  const own = keysOf(command)
  const others = Object.keys(values).filter((key) => !own.includes(foldName(key)))
  if (others.length === 0) return
  const known = (await loadVerbs()).flatMap(keysOf)
  for (const key of others) {
    if (!known.includes(foldName(key))) say(`${path}: ${key} is unknown to every verb`)
  }
}

/** Whatever it was that could not be opened any more, even a part of this program, the remedy is the same. */
function reasonOf(error: unknown): Error {
  const reason = error instanceof Error ? error : new Error(String(error))
  if (!/^(EMFILE|ENFILE)/.test((reason as NodeJS.ErrnoException).code ?? reason.message))
    return reason
  return SeaportError.STORAGE_FAILED(
    'this process may not open as many files as it needs; let it have more, as with ulimit -n 1024',
    error
  )
}
