import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'

export interface ChildOptions {
  /** What it is called when something goes wrong. */
  name: string
  env?: NodeJS.ProcessEnv
  cwd?: string
}

const LINE_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000
/** Lines kept, for error messages. */
const KEPT_LINES = 50

/** Those that run. Whatever ends us, ends them. */
const running = new Set<Child>()

process.on('exit', () => {
  for (const child of running) child.signal('SIGKILL')
})

/**
 * A process of the measurement. It is told to end by the end of its stdin, which also reaches our own
 * actors if we are killed, or by a signal.
 */
export class Child {
  readonly name: string
  readonly ended: Promise<number | null>

  readonly #process: ChildProcess
  readonly #lines: string[] = []
  /** Emits `line`, and `end`. */
  readonly #events = new EventEmitter()
  #hasEnded = false

  constructor(command: string, args: string[], { name, env, cwd }: ChildOptions) {
    this.name = name
    this.#process = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(env ? { env } : {}),
      ...(cwd ? { cwd } : {})
    })
    running.add(this)
    this.#events.setMaxListeners(0)
    this.#process.stdin?.on('error', () => {})
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      if (stream) createInterface(stream).on('line', (line) => this.#online(line))
    }
    this.ended = new Promise((resolve) => {
      const end = (code: number | null) => {
        this.#hasEnded = true
        running.delete(this)
        this.#events.emit('end')
        resolve(code)
      }
      this.#process.once('error', (error) => {
        this.#online(error.message)
        end(null)
      })
      this.#process.once('close', (code) => end(code))
    })
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Waits for a line that begins like this, said or yet to be said. Returns what follows. */
  async waitForLine(beginning: string, timeout = LINE_TIMEOUT_MS): Promise<string> {
    const said = this.#lines.find((line) => line.startsWith(beginning))
    if (said !== undefined) return said.slice(beginning.length)
    if (this.#hasEnded) throw this.#failureDetector(beginning)
    return new Promise((resolve, reject) => {
      const settle = (error: Error | null, rest = '') => {
        clearTimeout(timer)
        this.#events.off('line', online)
        this.#events.off('end', onend)
        if (error) reject(error)
        else resolve(rest)
      }
      const online = (line: string) => {
        if (line.startsWith(beginning)) settle(null, line.slice(beginning.length))
      }
      const onend = () => settle(this.#failureDetector(beginning))
      const timer = setTimeout(onend, timeout)
      this.#events.on('line', online)
      this.#events.on('end', onend)
    })
  }

  /** Calls back for each line from now on. */
  onLine(listener: (line: string) => void) {
    this.#events.on('line', listener)
  }

  /** Waits for the line of JSON that an actor reports with. */
  async report<T>(timeout = LINE_TIMEOUT_MS): Promise<T> {
    return JSON.parse(await this.waitForLine('report=', timeout)) as T
  }

  /** Tells it something. */
  write(text: string) {
    this.#process.stdin?.write(text)
  }

  /** Ends its stdin, on which our own actors end what they do. */
  finish() {
    this.#process.stdin?.end()
  }

  signal(signal: NodeJS.Signals) {
    if (!this.#hasEnded) this.#process.kill(signal)
  }

  /** Sends a signal, and waits for the end; not forever. */
  async stop(signal: NodeJS.Signals = 'SIGTERM') {
    this.signal(signal)
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_TIMEOUT_MS)
    await this.ended
    clearTimeout(timer)
  }

  #online(line: string) {
    this.#lines.push(line)
    if (this.#lines.length > KEPT_LINES) this.#lines.shift()
    this.#events.emit('line', line)
  }

  #failureDetector(beginning: string): Error {
    const state = this.#hasEnded ? 'ended' : 'ran on'
    return new Error(
      `${this.name} ${state} without saying ${JSON.stringify(beginning)}; it said:\n${this.#lines.join('\n')}`
    )
  }
}

/** Runs a command to its end, and returns its lines. */
export async function run(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv = process.env
): Promise<string[]> {
  const child = new Child(command, args, { name: command, env })
  const lines: string[] = []
  child.onLine((line) => lines.push(line))
  child.finish()
  if ((await child.ended) !== 0) throw new Error(`${command} failed: ${lines.join('\n')}`)
  return lines
}

export async function stopAll() {
  await Promise.all([...running].map((child) => child.stop('SIGKILL')))
}

/** For actors: resolves when whoever started this process has enough of it. */
export async function untilFinished() {
  process.stdin.resume()
  await once(process.stdin, 'close')
}
