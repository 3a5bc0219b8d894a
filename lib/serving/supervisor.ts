import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { hasGroups, signalGroup, tryToGuardGroup } from '../core/guard.js'
import { startTimer } from '../core/timer.js'
import { freePort, isListening } from './local-port.js'

export interface SupervisorOptions {
  /** The program and its arguments. */
  command: readonly string[]
  /** The port that it is to listen on, which it finds in `PORT`. 0 finds a free one, another at each start. */
  port?: number | undefined
  /** Where its output goes. Default: nowhere. */
  output?: 'inherit' | 'ignore' | undefined
  /** How long it waits before a restart, in ms, by how often it ended too early. */
  backoffs?: readonly number[] | undefined
  /** How long it may take to end when it is asked to, in ms. */
  grace?: number | undefined
  random?: () => number
}

/** How a command ended. */
export interface Exit {
  /** Its exit code; null if a signal ended it. */
  code: number | null
  /** The signal that ended it; null if it ended by itself. */
  signal: NodeJS.Signals | null
  /** When it is started again, in ms from then. */
  restartIn: number
}

interface SupervisorEvents {
  /** The command listens on this port. */
  up: [port: number]
  /** The command listens no more. */
  down: []
  exit: [Exit]
  /** The command could not be started. It is tried again. */
  notice: [SeaportError]
}

const BACKOFFS_MS = [100, 500, 1000, 2000, 5000, 10_000, 30_000]
/** Each wait is longer by up to this part, so that commands that ended together do not start together. */
const JITTER = 0.2
/** After a command has listened for so long, its next end counts as the first one again, in ms. */
const STEADY_MS = 10_000
const GRACE_MS = 10_000
const POLL_MS = 50

/**
 * Keeps a command running that listens on a port of this machine. The command leads a process group of its own. So
 * a Ctrl-C at our terminal does not reach it, and we pass it on once the streams have ended; and whatever the
 * command has started ends together with it. A guard ends the group if our process is killed: what is left would keep
 * the port, and the command could not be started again.
 */
export class Supervisor extends EventEmitter<SupervisorEvents> {
  readonly stats = { starts: 0, exits: 0 }

  readonly #command: readonly string[]
  readonly #wantedPort: number
  readonly #output: 'inherit' | 'ignore'
  readonly #backoffs: readonly number[]
  readonly #grace: number
  readonly #random: () => number
  readonly #abort = new AbortController()
  readonly #onprocessexit = () => this.signal('SIGKILL')
  #child: ChildProcess | null = null
  #endGuard = () => {}
  #port = 0
  #isUp = false
  #earlyExits = 0
  #running: Promise<void> | null = null

  /** @throws USAGE */
  constructor({
    command,
    port = 0,
    output = 'ignore',
    backoffs = BACKOFFS_MS,
    grace = GRACE_MS,
    random = Math.random
  }: SupervisorOptions) {
    super()
    if (!command[0]) throw SeaportError.USAGE('which command is to be supervised?')
    this.#command = command
    this.#wantedPort = port
    this.#output = output
    this.#backoffs = backoffs
    this.#grace = grace
    this.#random = random
  }

  /** Whether it listens. */
  get isUp(): boolean {
    return this.#isUp
  }

  /** The port that it listens on, or is to listen on. */
  get port(): number {
    return this.#port
  }

  /** The command line, for people to read. */
  get name(): string {
    return this.#command.join(' ')
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /**
   * Starts the command. From then on events tell what becomes of it.
   *
   * @throws COMMAND_FAILED if there is no such program, PORT_IN_USE
   */
  async start() {
    const first = this.#spawn()
    this.#running = first.then(
      (child) => this.#run(child),
      () => {}
    )
    await first
  }

  /** Sends a signal to the command, and to what it started. */
  signal(signal: NodeJS.Signals) {
    if (this.#child) signalGroup(this.#child, signal)
  }

  /** Ends the command: SIGTERM, and after the grace SIGKILL. */
  async stop() {
    this.#abort.abort(SeaportError.CLOSED('the supervisor was stopped'))
    const child = this.#child
    if (child) {
      this.signal('SIGTERM')
      const timer = startTimer(() => this.signal('SIGKILL'), this.#grace)
      await exitOf(child)
      clearTimeout(timer)
    }
    await this.#running
  }

  async #run(first: ChildProcess) {
    let child: ChildProcess | null = first
    for (;;) {
      if (child) await this.#watch(child)
      else await this.#wait(this.#backoff())
      if (this.#isStopped) return
      child = await this.#spawn().catch((notice: SeaportError) => {
        this.emit('notice', notice)
        return null
      })
    }
  }

  /** Follows one run of the command to its end, and through the wait after it. */
  async #watch(child: ChildProcess) {
    const exited = exitOf(child)
    const startedAt = performance.now()
    this.#isUp = await this.#listens(exited)
    if (this.#isUp) this.emit('up', this.#port)
    const { code, signal } = await exited
    // The command may have left processes behind, which would hold the port or run on without a use.
    this.signal('SIGKILL')
    this.#endGuard()
    this.#child = null
    this.stats.exits++
    process.off('exit', this.#onprocessexit)
    if (this.#isUp) {
      this.#isUp = false
      this.emit('down')
      if (performance.now() - startedAt > STEADY_MS) this.#earlyExits = 0
    }
    if (this.#isStopped) return
    const restartIn = this.#backoff()
    this.emit('exit', { code, signal, restartIn })
    await this.#wait(restartIn)
  }

  /** Waits until it listens. False if it ends first, or is to end. */
  async #listens(exited: Promise<unknown>): Promise<boolean> {
    let hasExited = false
    const exit = exited.then(() => {
      hasExited = true
    })
    while (!hasExited && !this.#isStopped) {
      if (await isListening(this.#port)) return !hasExited
      await Promise.race([this.#wait(POLL_MS), exit])
    }
    return false
  }

  async #spawn(): Promise<ChildProcess> {
    // If another program listened on the port that was asked for, we would register that one.
    this.#port = await freePort(this.#wantedPort)
    const [program = '', ...args] = this.#command
    const child = spawn(program, args, {
      env: { ...process.env, PORT: `${this.#port}` },
      stdio: ['ignore', this.#output, this.#output],
      detached: hasGroups
    })
    try {
      await once(child, 'spawn')
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      throw SeaportError.COMMAND_FAILED(
        code === 'ENOENT'
          ? `there is no program ${program}; check its spelling and PATH`
          : `${program} cannot be started (${code})`,
        cause
      )
    }
    // An error comes, for example, when the command ends while a signal is sent to it.
    child.on('error', () => {})
    this.#child = child
    this.stats.starts++
    // If our process exits without a proper stop, the command must not go on.
    process.once('exit', this.#onprocessexit)
    this.#endGuard = await tryToGuardGroup(child.pid as number)
    if (this.#isStopped) this.signal('SIGKILL')
    return child
  }

  #backoff(): number {
    const step = Math.min(this.#earlyExits++, this.#backoffs.length - 1)
    return Math.round((this.#backoffs[step] ?? 0) * (1 + JITTER * this.#random()))
  }

  get #isStopped(): boolean {
    return this.#abort.signal.aborted
  }

  /** Waits, and resolves early when the supervisor is stopped. */
  #wait(ms: number): Promise<void> {
    const { signal } = this.#abort
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done)
      if (signal.aborted) done()
    })
  }
}

function exitOf(child: ChildProcess): Promise<Omit<Exit, 'restartIn'>> {
  return new Promise((resolve) => {
    const done = () => resolve({ code: child.exitCode, signal: child.signalCode })
    if (child.exitCode !== null || child.signalCode !== null) done()
    else child.once('exit', done)
  })
}
