import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Cli, cleanEnvironment, PROGRAM, Running } from '../bin/cli.js'
import type { DocumentedCommand } from './pages.js'

/** Verbs that run until they are stopped, and what each prints once it does its work. */
const READY: Record<string, RegExp> = {
  registry: /^registryPublicKey=/,
  service: /^registered service /,
  proxy: /^proxy from {2}/,
  web: /^web server listening on port /,
  watch: /^./,
  bootstrap: /^bootstrap=/,
  host: /^registered host/,
  start: /^Ctrl-C ends it\.$/
}
/** Of these, one machine runs one at a time. */
const ALONE = ['registry', 'web', 'watch', 'bootstrap', 'host']
/** Below the ports that the system gives away, so that nobody is given one of ours meanwhile; in tens, for those who take the next, too. */
const [LOWEST_PORT, HIGHEST_PORT] = [10_000, 32_000]
const ANY_KEY = '[0-9a-f]{64}'
const REMARK = /[.*+?^${}()|[\]\\]/g

export interface WalkthroughOptions {
  /** What runs the commands of a machine elsewhere, as in `ip netns exec host`. */
  at?: Record<string, string[]>
  /** Folders of the machines that are not to be empty homes of their own. */
  folders?: Record<string, string>
  /** A folder with the program `hyperseaport`. Default: one that leads to the build. */
  bin?: string
  env?: Record<string, string>
  /** How long a command that runs for good may take until it prints what it should, in ms. */
  patience?: number
}

interface Lasting {
  running: Running
  machine: string
  verb: string
  /** Two services or proxies with equal arguments stand in each other's way. */
  text: string
}

/**
 * Runs the commands of a page as a reader would, one after the other, each on the machine that the page
 * names: in a home of its own, with the real binary. What runs for good goes on beside the next ones.
 */
export class Walkthrough {
  readonly #t: Test
  readonly #cli: Cli
  readonly #options: WalkthroughOptions
  readonly #replacements: [from: RegExp, to: string][] = []
  readonly #lasting: Lasting[] = []
  readonly #bin: string
  /** What was printed so far, by place and command: a page refers to keys that it made before. */
  readonly #printed: string[] = []

  constructor(t: Test, options: WalkthroughOptions = {}) {
    this.#t = t
    this.#cli = new Cli(t)
    this.#options = options
    this.#bin = options.bin ?? this.#makeProgram()
    t.teardown(() => this.stop())
  }

  /** A private DHT that all machines join. */
  async island() {
    this.setEnv('HYPERSEAPORT_BOOTSTRAP', await this.#cli.island())
  }

  /** Sets an environment variable of everything that is started from now on. */
  setEnv(name: string, value: string) {
    this.#options.env = { ...this.#options.env, [name]: value }
  }

  /** What stands for something else in the page, in commands and in what they print. */
  replace(from: RegExp | string, to: string) {
    this.#replacements.push([typeof from === 'string' ? new RegExp(literal(from), 'g') : from, to])
  }

  /** Has a free port stand for one of the page's. */
  async replacePort(port: number): Promise<number> {
    const free = await freePort()
    this.replace(new RegExp(`(?<![\\d.])${port}(?![\\d.])`, 'g'), `${free}`)
    return free
  }

  /** The folder in which a machine's commands are run: its home. */
  folder(machine = ''): string {
    const folder =
      this.#options.folders?.[machine] ?? this.#cli.path(`home-${machine.replaceAll(/\W+/g, '-')}`)
    mkdirSync(folder, { recursive: true })
    return folder
  }

  write(machine: string, name: string, text: string) {
    const path = join(this.folder(machine), name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, this.adapt(text))
  }

  /** What a line that begins like this had behind that, the latest of all that was printed. */
  said(beginning: string): string {
    const line = this.#printed.findLast((line) => line.startsWith(beginning))
    if (line === undefined) throw new Error(`nothing was printed that begins with ${beginning}`)
    return line.slice(beginning.length)
  }

  /**
   * Has the short form of a key that a page shows stand for the key that was printed: `abe2…260f`, and
   * `abe2…` further on.
   *
   * @param line what the page says is printed
   */
  learn(line: string) {
    const [, beginning = '', short = '', key = ''] =
      /^(.*?[= ])(([0-9a-f]{4}…)[0-9a-f]{4}|[0-9a-f]{64})$/.exec(line) ?? []
    if (short === '') return
    const said = this.said(this.adapt(beginning))
    for (const form of [short, key]) if (form !== '') this.replace(form, said)
  }

  /** Runs a command, and holds what it prints to what the page says. */
  async run(command: DocumentedCommand) {
    const text = this.adapt(command.text)
    const verb = verbOf(text)
    if (verb !== null) await this.#stopFor(command.machine, verb, text)
    const running = this.#start(command.machine, text)
    const patterns = command.prints.map((line) => patternOf(this.adapt(line)))
    if (verb === null) {
      const { code, stdout, stderr } = await running.outcome
      this.#t.equal(code, 0, `${command.place} ${text}${code === 0 ? '' : `\n${stderr}`}`)
      const lines = `${stdout}\n${stderr}`.split('\n')
      for (const pattern of patterns) {
        const isThere = lines.some((line) => pattern.test(line))
        this.#t.ok(isThere, `${text} prints ${pattern}${isThere ? '' : `, not ${stdout}`}`)
      }
    } else {
      this.#lasting.push({ running, machine: command.machine, verb, text })
      for (const pattern of patterns.length > 0 ? patterns : [READY[verb] ?? /^/]) {
        await running.waitForMatch(pattern, this.#options.patience)
        this.#t.pass(`${text} prints ${pattern}`)
      }
    }
    this.#printed.push(...running.lines.stdout, ...running.lines.stderr)
  }

  /** The same for several, and for lines that no page has. */
  async runAll(commands: (DocumentedCommand | string)[]) {
    for (const command of commands) {
      await this.run(
        typeof command === 'string'
          ? { text: command, machine: '', prints: [], place: 'beforehand:' }
          : command
      )
    }
  }

  /** Ends what still runs, as Ctrl-C does. */
  async stop() {
    await Promise.all(this.#lasting.splice(0).map(({ running }) => running.interrupt()))
  }

  adapt(text: string): string {
    return this.#replacements.reduce((text, [from, to]) => text.replaceAll(from, to), text)
  }

  /** Ends what would have this one's port or folder, as a reader would have to. */
  async #stopFor(machine: string, verb: string, text: string) {
    const isInTheWay = (other: Lasting) =>
      other.machine === machine &&
      other.verb === verb &&
      (ALONE.includes(verb) || other.text === text)
    const others = this.#lasting.filter(isInTheWay)
    for (const other of others) this.#lasting.splice(this.#lasting.indexOf(other), 1)
    await Promise.all(others.map(({ running }) => running.interrupt()))
  }

  #start(machine: string, text: string): Running {
    const home = this.folder(machine)
    const { at = {}, env = {} } = this.#options
    const line = [...(at[machine] ?? []), 'env', '-u', 'NODE_OPTIONS', 'sh', '-c', text]
    const child = spawn(line[0] ?? '', line.slice(1), {
      cwd: home,
      env: {
        ...cleanEnvironment(home),
        PATH: `${this.#bin}:${process.env.PATH}`,
        ...env
      },
      // A group of its own is ended together, as by Ctrl-C at a terminal.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    return new Running(child, [text])
  }

  #makeProgram(): string {
    const bin = this.#cli.path('bin')
    mkdirSync(bin)
    const program = join(bin, 'hyperseaport')
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`)
    chmodSync(program, 0o755)
    return bin
  }
}

/** The verb of a command that runs until it is stopped. */
function verbOf(text: string): string | null {
  if (/\bnpm start$/.test(text)) return 'start'
  const [, verb = ''] = /^(?:HYPERSEAPORT_\w+=\S+ )*hyperseaport (\w+)\b/.exec(text) ?? []
  return Object.hasOwn(READY, verb) ? verb : null
}

/** What a page says that is printed: an ellipsis stands for anything, in a key as elsewhere. */
function patternOf(line: string): RegExp {
  const pattern = literal(line)
    .replaceAll(/[0-9a-f]{64}|[0-9a-f]{4}…[0-9a-f]{4}/g, ANY_KEY)
    .replaceAll(/ +/g, ' +')
    .replace(/…$/, '')
    .replaceAll('…', '.*')
  return new RegExp(`^${pattern}${line.endsWith('…') ? '' : '$'}`)
}

function literal(text: string): string {
  return text.replaceAll(REMARK, '\\$&')
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST_PORT + 10 * Math.floor(Math.random() * ((HIGHEST_PORT - LOWEST_PORT) / 10))
    const server = createServer()
    try {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      return port
    } catch {
      // It is taken: the next one.
    } finally {
      server.close()
    }
  }
}
