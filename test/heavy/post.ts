import { resolve } from 'node:path'
import type { Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import type { Told } from './fixtures/mail-peer.js'
import { untilNothing } from './until.js'

const PROGRAM = resolve(import.meta.dirname, 'fixtures/mail-peer.js')
const PATIENCE_MS = 60_000

/** What a process says of a letter that came. */
export interface Got {
  id: string
  from: string
  body: unknown
}

/** What it says of one that it wrote. */
export interface Heard {
  id: string
  status: string
  by: string | null
  code: string
}

/** A registry, and processes of it that write to each other. */
export class Post {
  readonly cli: Cli
  readonly registryPublicKey: string
  readonly bootstrap: string
  registry: Running

  /** All of them on this machine. */
  static async make(t: Test): Promise<Post> {
    const cli = new Cli(t)
    const bootstrap = await cli.island()
    const post = new Post(cli, bootstrap)
    await post.registry.waitForLine('registryPublicKey=')
    return post
  }

  constructor(cli: Cli, bootstrap: string) {
    this.cli = cli
    this.bootstrap = bootstrap
    this.registryPublicKey = cli.seed().registryPublicKey
    this.registry = this.#startRegistry()
  }

  /** Kills the registrar, and starts it again on its folder. */
  async restartRegistry() {
    await this.registry.kill('SIGKILL')
    this.registry = this.#startRegistry()
    await this.registry.waitForLine('registryPublicKey=')
  }

  /** Starts a process with a folder of this name, and waits until it is registered. */
  async peer(name: string, told: Partial<Told> = {}, at: string[] = []): Promise<Correspondent> {
    const { registryPublicKey, bootstrap, cli } = this
    const all: Told = { registryPublicKey, bootstrap, dir: cli.path(name), ...told }
    const running = cli.start([JSON.stringify(all)], { program: PROGRAM, at })
    return new Correspondent(running, await running.waitForLine('key=', PATIENCE_MS))
  }

  #startRegistry(): Running {
    return this.cli.start(['registry', '--dir', this.cli.path('registry')])
  }
}

/** A process that writes and is written to. */
export class Correspondent {
  readonly running: Running
  readonly key: string

  constructor(running: Running, key: string) {
    this.running = running
    this.key = key
  }

  /** The letters that came. */
  get got(): Got[] {
    return this.#lines('got')
  }

  /** The letters that it wrote, in order. */
  get wrote(): { id: string; status: string }[] {
    return this.#lines('wrote')
  }

  get receipts(): Heard[] {
    return this.#lines('receipt')
  }

  receiptsOf(letter: string): Heard[] {
    return this.receipts.filter(({ id }) => id === letter)
  }

  /** Waits until it has printed what is asked for; the question says what is missing. */
  async until(isThere: (self: this) => boolean, what: string, timeout = PATIENCE_MS) {
    await untilNothing(async () => (isThere(this) ? null : `${what}: ${this.#said()}`), timeout)
  }

  /** Its numbers. */
  // biome-ignore lint/suspicious/noExplicitAny: what they are is the business of who asks.
  async stats(): Promise<any> {
    const before = this.#lines('stats').length
    process.kill(this.running.pid, 'SIGUSR2')
    await this.until(() => this.#lines('stats').length > before, 'no numbers')
    return this.#lines('stats').at(-1)
  }

  /** Ends it in the middle of whatever it does. */
  async kill() {
    await this.running.kill('SIGKILL')
  }

  #lines<T>(what: string): T[] {
    const lines = this.running.lines.stdout.filter((line) => line.startsWith(`${what} `))
    return lines.map((line) => JSON.parse(line.slice(what.length + 1)))
  }

  #said(): string {
    const { stdout, stderr } = this.running.lines
    return [...stdout, ...stderr].slice(-20).join('\n')
  }
}
