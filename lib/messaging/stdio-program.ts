import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import { hasGroups, signalGroup, tryToGuardGroup } from '../core/guard.js'
import { MAX_BODY_LIMIT_BYTES } from './body.js'
import type { CallContext } from './call-context.js'
import { JsonLines } from './json-lines.js'
import { Passed } from './run.js'

export interface StdioProgramOptions {
  /** The program and its arguments. */
  command: readonly string[]
  /** The program emits an event. Throws if it is not a valid one. */
  onevent: (type: string, data: unknown) => void
  /** The program writes the service's state; undefined deletes the name. Rejects if it could not be written. */
  onstate: (name: string, value: unknown) => Promise<unknown>
  /** The program does something with browsers: a method that begins with `clients.`, without that. */
  onclients: (method: string, params: { [field: string]: unknown }) => Promise<unknown>
  /** Called when a line of the program was wrong, or when it has ended and is started again. */
  onnotice: (notice: SeaportError) => void
  /** How long to wait before it is started again, in ms, by how often it ended too early. */
  backoffs?: readonly number[] | undefined
  /** How long it may take to end when it is asked to, in ms. */
  grace?: number | undefined
}

interface Asked {
  resolve: (value: unknown) => void
  reject: (error: Error) => void
}

interface Request {
  method: string
  params: unknown
  meta?: object
  signal: AbortSignal
}

const BACKOFFS_MS = [100, 500, 1000, 2000, 5000, 10_000]
/** After a program has run for so long, its next end counts as the first one again, in ms. */
const STEADY_MS = 10_000
const GRACE_MS = 5000
/** How long a program that has closed its stdout may take to end by itself, in ms. */
const CLOSED_STDOUT_MS = 1000
/** How much may wait for a program that does not read, in bytes. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024
/** The code of JSON-RPC for an unknown method. */
const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602
/** The code of JSON-RPC for what a server finds wrong itself. Our own code is in its text. */
const SERVER_ERROR = -32000
const OF_CLIENTS = 'clients.'

/**
 * A program in any language that executes commands. It speaks JSON-RPC 2.0 by stdin and stdout, a line each:
 *
 *     it reads    {"jsonrpc":"2.0","id":1,"method":"fetch","params":…,"meta":{"peer":…,"principal":…,"timeLeft":…}}
 *                 {"jsonrpc":"2.0","method":"cancel","params":{"id":1}}
 *     it writes   {"jsonrpc":"2.0","id":1,"result":…}   or   {"jsonrpc":"2.0","id":1,"error":{"code":…,"message":…}}
 *                 {"jsonrpc":"2.0","method":"event","params":{"type":"TICK","data":…}}
 *                 {"jsonrpc":"2.0","method":"state.set","params":{"name":"mode","value":…}}
 *                 {"jsonrpc":"2.0","method":"state.delete","params":{"name":"mode"}}
 *                 {"jsonrpc":"2.0","id":1,"method":"clients.direct","params":{"id":"ada","type":"note","data":…}}
 *
 * What it writes with an `id` is answered, and what goes wrong is an error there.
 * It is kept running. When it ends, commands without an answer fail. It leads a process group of its own, which ends with
 * it, and with us.
 */
export class StdioProgram {
  readonly stats = { starts: 0, exits: 0 }
  readonly #options: StdioProgramOptions
  readonly #asked = new Map<number, Asked>()
  /** Emits `start`. */
  readonly #starts = new EventEmitter()
  #child: ChildProcessByStdio<Writable, Readable, null> | null = null
  #lastId = 0
  #earlyExits = 0
  #timer: NodeJS.Timeout | null = null
  #isStopped = false
  readonly #onprocessexit = () => this.#signal('SIGKILL')

  constructor(options: StdioProgramOptions) {
    this.#options = options
  }

  /** @throws COMMAND_FAILED if there is no such program */
  start(): Promise<void> {
    const [program = '', ...args] = this.#options.command
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: hasGroups })
    const startedAt = performance.now()
    const lines = new JsonLines({
      maxBytes: MAX_BODY_LIMIT_BYTES,
      onvalue: (value) => this.#take(value),
      onbad: (line) => this.#complain(`it wrote a line that is no JSON: ${line}`)
    })
    child.stdout.on('data', (piece) => lines.push(piece))
    child.stdin.on('error', () => {})
    return new Promise((resolve, reject) => {
      child.once('spawn', () => {
        this.#child = child
        this.stats.starts++
        this.#starts.emit('start')
        process.once('exit', this.#onprocessexit)
        const guard = tryToGuardGroup(child.pid as number)
        child.once('exit', (code, signal) => {
          this.#onexit(code, signal, startedAt)
          void guard.then((end) => end())
        })
        child.stdout.once('end', () => this.#endMute(child))
        resolve()
      })
      child.on('error', (cause: NodeJS.ErrnoException) => {
        const why =
          cause.code === 'ENOENT'
            ? `there is no program ${program}; check its spelling and PATH`
            : `${program} cannot be started (${cause.code})`
        reject(SeaportError.COMMAND_FAILED(why, cause))
      })
    })
  }

  /**
   * Lets the program execute a command.
   *
   * @throws the error that it answered with, REFUSED while it does not run, BUSY while it does not read, or
   * UNKNOWN_COMMAND for a name that is not for callers
   */
  async ask(name: string, data: unknown, { peer, principal, signal, deadline }: CallContext) {
    if (name.startsWith(OF_CLIENTS)) {
      // Such a name would pass for word of a browser.
      const text = `there is no command ${name} here: a program is told of browsers by such names`
      throw new Passed(SeaportError.UNKNOWN_COMMAND(text).withExecuted('no'))
    }
    const timeLeft = Math.max(0, deadline - Date.now())
    const params = data instanceof Uint8Array ? Buffer.from(data).toString('base64') : data
    const encoding = data instanceof Uint8Array ? { encoding: 'base64' } : {}
    return this.#request({
      method: name,
      params,
      meta: { peer, principal, timeLeft, ...encoding },
      signal
    })
  }

  /**
   * Asks the program something, once it runs.
   *
   * @param attempts how often it is asked if it ends before it has answered
   * @param timeout in ms
   * @throws the error that it answered with, LINK_LOST, DEADLINE
   */
  async askSoon(
    method: string,
    params: object,
    { attempts, timeout }: { attempts: number; timeout: number }
  ): Promise<unknown> {
    const signal = AbortSignal.timeout(timeout)
    try {
      if (!this.#child) await once(this.#starts, 'start', { signal })
      return await this.#request({ method, params, signal })
    } catch (error) {
      if (signal.aborted) {
        throw SeaportError.DEADLINE(`its program did not answer within ${timeout} ms`)
      }
      if (!(error instanceof Passed)) throw error
      if (attempts === 1 || error.reason.code !== 'LINK_LOST') throw error.reason
      return this.askSoon(method, params, { attempts: attempts - 1, timeout })
    }
  }

  /** Tells the program something, if it runs and reads. */
  notify(method: string, params: object) {
    if (!this.#denial()) this.#write({ jsonrpc: '2.0', method, params })
  }

  /** Why it takes nothing; null if it does. */
  #denial(): SeaportError | null {
    const stdin = this.#child?.stdin
    if (!stdin) return SeaportError.REFUSED('its program does not run just now')
    if (!stdin.writable) return SeaportError.REFUSED('its program has closed its stdin')
    if (stdin.writableLength < MAX_UNREAD_BYTES) return null
    return SeaportError.BUSY('its program does not read what it is asked')
  }

  #request({ signal, ...request }: Request): Promise<unknown> {
    const denial = this.#denial()
    if (denial) return Promise.reject(new Passed(denial.withExecuted('no')))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#asked.delete(id)
        signal.removeEventListener('abort', onabort)
      }
      const onabort = () => {
        settle()
        this.#write({ jsonrpc: '2.0', method: 'cancel', params: { id } })
        reject(signal.reason)
      }
      signal.addEventListener('abort', onabort, { once: true })
      this.#asked.set(id, {
        resolve: (value) => {
          settle()
          resolve(value)
        },
        reject: (error) => {
          settle()
          reject(error)
        }
      })
      this.#write({ jsonrpc: '2.0', id, ...request })
    })
  }

  /** Ends it: its stdin first, then SIGTERM, and after the grace SIGKILL. */
  async stop() {
    this.#isStopped = true
    if (this.#timer) clearTimeout(this.#timer)
    const child = this.#child
    if (!child) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    this.#end(child)
    await exited
  }

  #end(child: ChildProcessByStdio<Writable, Readable, null>) {
    child.stdin.end()
    this.#signal('SIGTERM')
    const timer = setTimeout(() => this.#signal('SIGKILL'), this.#options.grace ?? GRACE_MS)
    child.once('exit', () => clearTimeout(timer))
  }

  /** Ends a program that has closed its stdout, unless it does so by itself. It can answer nothing any more. */
  #endMute(child: ChildProcessByStdio<Writable, Readable, null>) {
    if (this.#isStopped || this.#child !== child) return
    const timer = setTimeout(() => {
      this.#complain('it has closed its stdout, so it can answer nothing, and is ended')
      this.#end(child)
    }, CLOSED_STDOUT_MS)
    child.once('exit', () => clearTimeout(timer))
  }

  /** Sends a signal to the program, and to what it started. */
  #signal(signal: NodeJS.Signals) {
    if (this.#child) signalGroup(this.#child, signal)
  }

  #write(message: object) {
    this.#child?.stdin.write(`${JSON.stringify(message)}\n`)
  }

  #take(value: unknown) {
    if (typeof value !== 'object' || value === null) {
      return this.#complain('it wrote a line that is no object')
    }
    const message = value as { [member: string]: unknown }
    if (message.method === 'event') return this.#takeEvent(message.params)
    if (message.method === 'state.set' || message.method === 'state.delete') {
      return void this.#takeState(message.method === 'state.set', message.params)
    }
    if (typeof message.method === 'string' && message.method.startsWith(OF_CLIENTS)) {
      return void this.#takeClients(message.method, message)
    }
    if (!this.#isAnswer(message)) {
      return this.#complain('it wrote a line that answers nothing, and is no event')
    }
    // An answer to a command that was cancelled meanwhile is no mistake.
    const asked = this.#asked.get(message.id)
    if (message.error || !('result' in message)) asked?.reject(errorOf(message.error))
    else asked?.resolve(message.result ?? undefined)
  }

  /** Whether a line answers something that the program was asked. */
  #isAnswer(message: {
    [member: string]: unknown
  }): message is { id: number; result?: unknown; error?: unknown } {
    const { id, method } = message
    if (method !== undefined || !('result' in message || 'error' in message)) return false
    return Number.isSafeInteger(id) && (id as number) > 0 && (id as number) <= this.#lastId
  }

  #takeEvent(params: unknown) {
    const { type, data } = (params ?? {}) as { [field: string]: unknown }
    try {
      this.#options.onevent(type as string, data)
    } catch (error) {
      this.#complain(`its event cannot be told: ${(error as Error).message}`)
    }
  }

  /** Never rejects. */
  async #takeState(isSet: boolean, params: unknown) {
    const { name, value = null } = (params ?? {}) as { [field: string]: unknown }
    try {
      await this.#options.onstate(name as string, isSet ? value : undefined)
    } catch (error) {
      this.#complain(`its state cannot be written: ${(error as Error).message}`)
    }
  }

  /** Does what the program asks for, and answers if it gave an id. Never rejects. */
  async #takeClients(method: string, { id, params }: { [member: string]: unknown }) {
    try {
      const given = (params ?? {}) as { [field: string]: unknown }
      const result = await this.#options.onclients(method.slice(OF_CLIENTS.length), given)
      if (id !== undefined) this.#write({ jsonrpc: '2.0', id, result: result ?? null })
    } catch (error) {
      const { message } = error as Error
      if (id === undefined) return this.#complain(`its ${method} failed: ${message}`)
      this.#write({ jsonrpc: '2.0', id, error: { code: SERVER_ERROR, message } })
    }
  }

  #onexit(code: number | null, signal: NodeJS.Signals | null, startedAt: number) {
    // What it has left behind would run on without a use.
    this.#signal('SIGKILL')
    this.#child = null
    this.stats.exits++
    process.off('exit', this.#onprocessexit)
    const lost = SeaportError.LINK_LOST('its program ended before it had answered')
    for (const { reject } of [...this.#asked.values()])
      reject(new Passed(lost.withExecuted('perhaps')))
    if (this.#isStopped) return
    if (performance.now() - startedAt > STEADY_MS) this.#earlyExits = 0
    const { backoffs = BACKOFFS_MS } = this.#options
    const wait = backoffs[Math.min(this.#earlyExits++, backoffs.length - 1)] ?? 0
    const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`
    this.#complain(`it ${how}, and starts again in ${wait / 1000} s`)
    this.#timer = setTimeout(() => {
      this.start().catch((error: SeaportError) => this.#options.onnotice(error))
    }, wait)
  }

  #complain(text: string) {
    this.#options.onnotice(SeaportError.COMMAND_FAILED(`${this.#options.command[0]}: ${text}`))
  }
}

/** The error for an error of the program, as if a handler had thrown it. */
function errorOf(error: unknown): Error {
  const { code, message } = (error ?? {}) as { [field: string]: unknown }
  const text = typeof message === 'string' ? message : 'it did not say why'
  if (code === METHOD_NOT_FOUND)
    return new Passed(SeaportError.UNKNOWN_COMMAND(text).withExecuted('no'))
  if (code === INVALID_PARAMS) return new Passed(SeaportError.BAD_INPUT(text).withExecuted('no'))
  const hasCode = typeof code === 'string' || typeof code === 'number'
  return Object.assign(new Error(text), { code: hasCode ? String(code) : '' })
}
