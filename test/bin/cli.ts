import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { Watchdog } from '../watchdog.js'
import { runInProcess } from './in-process.js'

export const PROGRAM = resolve(import.meta.dirname, '../../bin/hyperseaport.js')
const LINE_TIMEOUT_MS = 15_000

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CliOptions {
  /** Working folder. Default: the home. */
  cwd?: string
  env?: Record<string, string>
  /** What it is told on stdin. */
  stdin?: string
  /** Another script than the binary. */
  program?: string
  /** Flags of node itself. */
  nodeFlags?: string[]
  /** What runs it elsewhere, as in `ip netns exec host`. */
  at?: string[]
}

/**
 * The real binary, run for one test in a home of its own: nothing of the machine's configuration is
 * seen, and nothing is left behind. What still runs at the test's end is killed.
 */
export class Cli {
  readonly home: string
  /** A registry in an empty folder would wait for others to say whether it is private. */
  readonly #env: Record<string, string> = { HYPERSEAPORT_PRIVATE: 'false' }
  readonly #running = new Set<Running>()
  #bootstrap: BootstrapNode | null = null

  constructor(t: Test) {
    this.home = mkdtempSync(join(tmpdir(), 'hyperseaport-cli-'))
    t.teardown(async () => {
      await Promise.all([...this.#running].map((running) => running.kill('SIGKILL')))
      await this.#bootstrap?.destroy()
      rmSync(this.home, { recursive: true, force: true })
    })
  }

  /** A path in the home. */
  path(name: string): string {
    return join(this.home, name)
  }

  /** Writes a file in the home, and returns its path. */
  write(name: string, text: string | Buffer): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }

  /** Sets an environment variable of everything that is started from now on. */
  setEnv(name: string, value: string) {
    this.#env[name] = value
  }

  /** Runs a command to its end. */
  async run(args: string[], options?: CliOptions): Promise<Outcome> {
    return this.start(args, options).outcome
  }

  /**
   * Runs a command to its end in this process, where what it answers is tried, and not the binary. Talk that was
   * said within ten seconds is not repeated.
   */
  async ask(args: string[], options: Pick<CliOptions, 'cwd' | 'env'> = {}): Promise<Outcome> {
    const { cwd = this.home, env = {} } = options
    return runInProcess(args, cwd, { ...cleanEnvironment(this.home), ...this.#env, ...env })
  }

  /** Starts a command that runs until it is told to stop. */
  start(args: string[], options: CliOptions = {}): Running {
    const { cwd = this.home, env = {}, program = PROGRAM, nodeFlags = [], at = [], stdin } = options
    const node = [process.execPath, ...nodeFlags, program]
    // tap puts a loader of its own into every child's NODE_OPTIONS, which doubles its start and its
    // memory. `env` takes it out, and then becomes node: the pid stays.
    const line = [...at, 'env', '-u', 'NODE_OPTIONS', ...node, ...args]
    const child = spawn(line[0] ?? '', line.slice(1), {
      cwd,
      env: { ...cleanEnvironment(this.home), ...this.#env, ...env },
      stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
    })
    child.stdin?.end(stdin)
    const running = new Running(child, args)
    this.#running.add(running)
    child.once('exit', () => this.#running.delete(running))
    return running
  }

  /**
   * Starts a private DHT of one node, which this process runs: a binary less to start. Everything that
   * is started from now on joins it.
   */
  async island(): Promise<string> {
    this.#bootstrap = new BootstrapNode({ port: 0 })
    await this.#bootstrap.setup()
    const { address } = this.#bootstrap
    this.setEnv('HYPERSEAPORT_BOOTSTRAP', address)
    return address
  }

  /** Writes a config file with a new registry's identity, as `seed` prints it, for all in this home. */
  seed(): { registrySeed: string; registryPublicKey: string } {
    const seed = randomSeed()
    const registrySeed = toHex(seed)
    const registryPublicKey = toHex(KeyPair(seed).publicKey)
    const config = `registrySeed=${registrySeed}\nregistryPublicKey=${registryPublicKey}\n`
    this.write('.hyperseaportrc', config)
    return { registrySeed, registryPublicKey }
  }
}

/** A command that was started. */
export class Running {
  readonly outcome: Promise<Outcome>
  /** Lines of stdout and of stderr, so far. */
  readonly lines = { stdout: [] as string[], stderr: [] as string[] }

  readonly #child: ChildProcess
  readonly #args: string[]
  /** Emits `change` for each line, and at the end. */
  readonly #changes = new EventEmitter()
  #ended = false

  constructor(child: ChildProcess, args: string[]) {
    this.#child = child
    this.#args = args
    for (const name of ['stdout', 'stderr'] as const) {
      const stream = child[name]
      if (!stream) throw new Error(`${name} must be a pipe`)
      createInterface(stream).on('line', (line) => {
        this.lines[name].push(line)
        this.#changes.emit('change')
      })
    }
    this.outcome = once(child, 'close').then(([code, signal]) => {
      this.#ended = true
      this.#changes.emit('change')
      return { code, signal, stdout: this.#text('stdout'), stderr: this.#text('stderr') }
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get hasEnded(): boolean {
    return this.#ended
  }

  /**
   * Waits for a line of stdout that begins like this.
   *
   * @returns what follows
   */
  async waitForLine(beginning: string, timeout = LINE_TIMEOUT_MS): Promise<string> {
    return this.#waitFor('stdout', beginning, timeout)
  }

  /** The same on stderr, where the talk is. */
  async waitForTalk(beginning: string, timeout = LINE_TIMEOUT_MS): Promise<string> {
    return this.#waitFor('stderr', beginning, timeout)
  }

  /** Waits for a line of either that matches. */
  async waitForMatch(pattern: RegExp, timeout = LINE_TIMEOUT_MS) {
    const isThere = () =>
      [...this.lines.stdout, ...this.lines.stderr].some((line) => pattern.test(line))
    await this.#until(isThere, `${pattern}`, timeout)
  }

  /** Ends it and all that it started, as Ctrl-C does: it has to lead a process group. */
  async interrupt(): Promise<Outcome> {
    if (!this.#ended) process.kill(-this.pid, 'SIGINT')
    return this.outcome
  }

  /** Sends a signal and waits for the end. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> {
    this.#child.kill(signal)
    return this.outcome
  }

  async #waitFor(name: 'stdout' | 'stderr', beginning: string, timeout: number): Promise<string> {
    const find = () => this.lines[name].find((line) => line.startsWith(beginning))
    await this.#until(() => find() !== undefined, JSON.stringify(beginning), timeout)
    return find()?.slice(beginning.length) ?? ''
  }

  async #until(isThere: () => boolean, what: string, timeout: number) {
    const watchdog = new Watchdog(timeout)
    const { signal } = watchdog
    try {
      while (!isThere()) {
        if (this.#ended) throw this.#missing(what, 'before it ended')
        await once(this.#changes, 'change', { signal }).catch(() => {
          throw this.#missing(what, `in ${timeout} ms, as on a quiet machine`)
        })
      }
    } finally {
      watchdog.stop()
    }
  }

  #missing(what: string, when: string): Error {
    return new Error(
      `hyperseaport ${this.#args.join(' ')} did not print ${what} ${when}; ` +
        `stdout: ${this.#text('stdout')} stderr: ${this.#text('stderr')}`
    )
  }

  #text(name: 'stdout' | 'stderr'): string {
    return this.lines[name].map((line) => `${line}\n`).join('')
  }
}

/** Ours without what tap and the person at this machine have set. */
export function cleanEnvironment(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(hyperseaport_|xdg_|tap|_tapjs_)/i.test(name)
  )
  return { ...Object.fromEntries(kept), HOME: home, HYPERSEAPORT_OFFLINE: '1' }
}
