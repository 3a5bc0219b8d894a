import { SeaportError } from '../core/errors.js'
import { Histogram } from '../core/histogram.js'
import { MAX_BODY_BYTES } from './body.js'
import type { CallContext } from './call-context.js'
import { type CommandContract, type CommandTerms, jsonSchemaOf } from './contract.js'
import { checkOwnName, OWN_PREFIX } from './names.js'
import { nearest } from './nearest.js'
import { type Handler, type Incoming, type Replies, Run, type RunOptions } from './run.js'

/** How a command is to be handled. */
export interface HandleOptions<I = unknown, O = unknown> extends CommandTerms<I, O> {
  /** How many may run at a time. Default: as many as come. */
  concurrency?: number | undefined
  /** How many more may wait for their turn; beyond, callers are told BUSY at once. Default: 1 000. */
  queue?: number | undefined
}

/** Commands by name: a handler, or a handler with options. */
export type CommandMap = Record<string, Handler | (HandleOptions & { handler: Handler })>

/** A command as `$describe` shows it. */
export interface CommandView {
  name: string
  idempotent: boolean
  input?: unknown
  output?: unknown
}

const QUEUE = 1000
const MAX_OTHERS = 256
/** How many commands may run or wait at a time, in all. One that was cancelled counts until its handler has ended. */
const MAX_RUNS = 65_536

class Command {
  readonly stats = { calls: 0, failed: 0, cancelled: 0, busy: 0 }
  readonly latency = new Histogram()
  readonly contract: CommandContract
  readonly runOptions: RunOptions
  readonly concurrency: number
  readonly queueLimit: number
  readonly queue: Run[] = []
  running = 0
  /** Whether `startNext` is running. */
  isStarting = false

  constructor(
    name: string,
    options: HandleOptions,
    handler: Handler,
    watch: Pick<RunOptions, 'maxBody' | 'onreplied' | 'onover'>
  ) {
    const { concurrency = Infinity, queue = QUEUE, ...terms } = options
    this.contract = { ...terms, name }
    this.runOptions = { handler, contract: this.contract, ...watch }
    this.concurrency = checkCount(concurrency, 'concurrency', 1)
    this.queueLimit = checkCount(queue, 'queue', 0)
  }

  /**
   * Starts those whose turn has come. If one ends at once, this loop starts the next, so that they do not call each
   * other recursively.
   */
  startNext() {
    if (this.isStarting) return
    this.isStarting = true
    while (this.running < this.concurrency) {
      const next = this.queue.shift()
      if (!next) break
      this.running++
      next.start()
    }
    this.isStarting = false
  }
}

/** The commands of a service, and their handlers. */
export class Commands {
  readonly #commands = new Map<string, Command>()
  readonly #maxBody: number
  readonly #onfirst: () => void
  #others: ((name: string, data: unknown, context: CallContext) => unknown) | null = null
  #runs = 0

  /** @internal @param onfirst called when the first command is added */
  constructor({
    maxBody = MAX_BODY_BYTES,
    onfirst
  }: {
    maxBody?: number | undefined
    onfirst: () => void
  }) {
    this.#maxBody = maxBody
    this.#onfirst = onfirst
  }

  /** The names of all commands except hyperseaport's own. */
  get names(): string[] {
    return [...this.#commands.keys()].filter((name) => !name.startsWith(OWN_PREFIX))
  }

  /**
   * Adds a handler for a command.
   *
   * @param command its name, or a command of a `contract`
   * @throws USAGE for a name that cannot be one, or is taken
   */
  handle<I, O>(command: CommandContract<I, O>, handler: Handler<I, O>): this
  handle(command: string, handler: Handler): this
  handle<I, O>(
    command: string | CommandContract<I, O>,
    options: HandleOptions<I, O>,
    handler: Handler<I, O>
  ): this
  handle(
    command: string | CommandContract,
    optionsOrHandler: HandleOptions | Handler,
    maybeHandler?: Handler
  ): this {
    const name = checkOwnName(typeof command === 'string' ? command : command.name, 'a command')
    const terms = typeof command === 'string' ? {} : command
    const [options, handler] =
      typeof optionsOrHandler === 'function'
        ? [{}, optionsOrHandler]
        : [optionsOrHandler, maybeHandler]
    if (typeof handler !== 'function') {
      throw SeaportError.USAGE(`who executes ${name}? Give a function as the last argument`)
    }
    this.#add(this.#commandOf(name, { ...terms, ...options }, handler))
    this.#onfirst()
    return this
  }

  /** @internal Adds one of hyperseaport's own commands. */
  handleOwn(name: string, handler: Handler): this {
    this.#add(this.#commandOf(name, { idempotent: true }, handler))
    return this
  }

  /**
   * Takes a command that came. Its outcome is reported to `replies`.
   *
   * @internal
   */
  run(incoming: Incoming, replies: Replies): Run | null {
    const { id, name } = incoming
    const command = this.#commands.get(name) ?? this.#othersFor(name)
    if (!command) {
      replies.fail(id, this.#unknown(name))
      return null
    }
    const isFull = command.running >= command.concurrency
    if ((isFull && command.queue.length >= command.queueLimit) || this.#runs >= MAX_RUNS) {
      command.stats.busy++
      const text = `${command.running} of ${name} run, and ${command.queue.length} wait`
      replies.fail(id, SeaportError.BUSY(text).withExecuted('no'))
      return null
    }
    const run = new Run(incoming, replies, command.runOptions)
    this.#runs++
    if (isFull) {
      command.queue.push(run)
      run.queue()
    } else {
      command.running++
      run.start()
    }
    return run
  }

  /**
   * Adds a handler for all commands that have none of their own.
   *
   * @internal
   */
  handleOthers(handler: (name: string, data: unknown, context: CallContext) => unknown) {
    this.#others = handler
  }

  /** @internal */
  describe(): CommandView[] {
    return this.names.map((name) => {
      const { contract } = this.#commands.get(name) as Command
      const [input, output] = [jsonSchemaOf(contract.input), jsonSchemaOf(contract.output)]
      return {
        name,
        idempotent: contract.idempotent ?? false,
        ...(input !== undefined && { input }),
        ...(output !== undefined && { output })
      }
    })
  }

  /** @internal */
  getStats() {
    const commands = this.names.map((name) => {
      const { stats, running, queue, latency } = this.#commands.get(name) as Command
      return [name, { ...stats, running, waiting: queue.length, latency }] as const
    })
    return Object.fromEntries(commands)
  }

  #add(command: Command) {
    const { name } = command.contract
    if (this.#commands.has(name)) {
      throw SeaportError.USAGE(`the command ${name} is handled already`)
    }
    this.#commands.set(name, command)
  }

  #commandOf(name: string, options: HandleOptions, handler: Handler): Command {
    const isOwn = name.startsWith(OWN_PREFIX)
    const maxBody = isOwn ? Math.max(this.#maxBody, MAX_BODY_BYTES) : this.#maxBody
    const command: Command = new Command(name, options, handler, {
      maxBody,
      onreplied: (run, failure) => {
        command.stats.calls++
        if (failure === null || failure.executed === 'yes') this.#keep(command)
        if (failure?.executed === 'yes') command.stats.failed++
        else if (failure) command.stats.cancelled++
        command.latency.observe(performance.now() - run.beganAt)
        if (command.queue.length === 0) return
        const place = command.queue.indexOf(run)
        if (place >= 0) command.queue.splice(place, 1)
      },
      onover: (run) => {
        this.#runs--
        if (!run.isStarted) return
        command.running--
        command.startNext()
      }
    })
    return command
  }

  /** The command that stands for an unknown name, if there is a handler for others. */
  #othersFor(name: string): Command | null {
    const others = this.#others
    if (!others || name.startsWith(OWN_PREFIX)) return null
    return this.#commandOf(name, {}, (data, context) => others(name, data, context))
  }

  /**
   * Remembers a command that the handler for others has executed, with its counters, up to a limit. Until then a name may be
   * one that a caller has made up.
   */
  #keep(command: Command) {
    const { name } = command.contract
    if (this.#commands.has(name) || this.#commands.size >= MAX_OTHERS) return
    this.#commands.set(name, command)
  }

  #unknown(name: string): SeaportError {
    const text = `there is no command ${JSON.stringify(name)} here${nearest(name, this.names)}`
    return SeaportError.UNKNOWN_COMMAND(text).withExecuted('no')
  }
}

function checkCount(value: number, name: string, min: number): number {
  if (value === Infinity || (Number.isInteger(value) && value >= min)) return value
  throw SeaportError.USAGE(`${name} is a number from ${min} on, not ${value}`)
}
