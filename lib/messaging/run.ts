import { SeaportError } from '../core/errors.js'
import type { Executed } from '../core/executed.js'
import { messageOf } from '../core/thrown.js'
import { type Body, copyOf, decodeBody, encodeBody, NO_BODY } from './body.js'
import { type CallContext, type Inherited, inherited } from './call-context.js'
import { type CommandContract, validate } from './contract.js'
import { DEADLINES, type Timed, type Waiting } from './deadlines.js'
import type { Call } from './frames.js'
import { MAX_TIMEOUT_MS } from './limits.js'
import type { Meta } from './meta.js'

/** Executes a command, and returns its answer. To answer in items it returns an async iterable. */
export type Handler<I = unknown, O = unknown> = (
  // biome-ignore lint/suspicious/noExplicitAny: without a contract only the handler knows the type
  data: any extends I ? any : I,
  context: CallContext
) => O | Promise<O> | AsyncIterable<O>

/** A command as it came. */
export type Incoming = Pick<Call, 'id' | 'name' | 'body' | 'meta' | 'timeLeft' | 'isStreaming'>

/** The caller's side of a run. The end of each call is reported once, by `answer` or `fail`. */
export interface Replies {
  /** The caller's key, in hex. */
  readonly peer: string
  answer(id: number, body: Body): void
  fail(id: number, error: SeaportError): void
  /** Resolves when the caller has room for more. */
  item(id: number, body: Body): Promise<void>
  queued(id: number): void
  started(id: number): void
}

export interface RunOptions {
  handler: Handler
  contract: CommandContract
  /** The largest answer, in bytes. */
  maxBody: number
  /** The call is over for the caller; `failure` is null if it was answered. The handler may still run. */
  onreplied: (run: Run, failure: SeaportError | null) => void
  /** The handler has ended, or will not begin. */
  onover: (run: Run) => void
}

/** One command that is executed here, from when it came until its handler has ended. */
export class Run implements Timed, Inherited {
  readonly beganAt = performance.now()
  readonly deadline: number
  readonly id: number
  readonly name: string
  readonly meta: Meta
  readonly #isStreaming: boolean
  readonly #timeLeft: number
  readonly #options: RunOptions
  readonly #replies: Replies
  readonly #waiting: Waiting
  /** The input, until it is decoded. */
  #body: Body
  #abort: AbortController | null = null
  #ended: SeaportError | null = null
  #isQueued = false
  #isStarted = false
  /** Whether the handler was called, after which the command counts as executed. */
  #isExecuting = false
  #isReplied = false

  constructor(
    { id, name, meta, body, timeLeft, isStreaming }: Incoming,
    replies: Replies,
    options: RunOptions
  ) {
    this.id = id
    this.name = name
    this.meta = meta
    this.#body = body
    this.#isStreaming = isStreaming
    this.#options = options
    this.#replies = replies
    this.#timeLeft = Math.min(timeLeft, MAX_TIMEOUT_MS)
    this.deadline = this.beganAt + this.#timeLeft
    this.#waiting = DEADLINES.start(this)
  }

  get isStarted(): boolean {
    return this.#isStarted
  }

  get isReplied(): boolean {
    return this.#isReplied
  }

  /** The handler has ended, and nobody had given it up. */
  get isAnswered(): boolean {
    return this.#isReplied && this.#ended === null
  }

  /** The handler's signal. It is made when it is first read, because few handlers do and nothing here costs more. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#ended) this.#abort.abort(this.#ended)
    return this.#abort.signal
  }

  /** Tells the caller that the command waits for its turn. */
  queue() {
    this.#isQueued = true
    this.#body = copyOf(this.#body)
    this.#replies.queued(this.id)
  }

  /** Executes the command, whose turn has come. */
  start() {
    if (this.#isStarted || this.#isReplied) return
    this.#isStarted = true
    if (this.#isQueued) this.#replies.started(this.id)
    const { contract } = this.#options
    const body = this.#body
    this.#body = NO_BODY
    if (contract.input) {
      validInput(contract, body).then(
        (data) => this.#execute(data),
        (error) => this.#onthrown(error)
      )
      return
    }
    let data: unknown
    try {
      data = readInput(contract, body)
    } catch (error) {
      return this.#onthrown(error)
    }
    this.#execute(data)
  }

  /** Cancels it. The caller is told at once, and the handler by its signal. */
  cancel(reason: SeaportError) {
    if (this.#isReplied) return
    this.#ended = reason
    this.#fail(reason, this.#isExecuting ? 'perhaps' : 'no')
    this.#abort?.abort(reason)
    if (!this.#isStarted) this.#options.onover(this)
  }

  onlate() {
    this.cancel(SeaportError.DEADLINE(`it was not done within ${this.#timeLeft} ms`))
  }

  /** Calls the handler. No promise is made if it answers at once and the answer need not be validated. */
  #execute(data: unknown) {
    if (this.#isReplied) {
      this.#options.onover(this)
      return
    }
    this.#isExecuting = true
    const { handler, contract } = this.#options
    try {
      const result = inherited.run(this, handler, data, new Context(this, this.#replies.peer))
      const isLater = isThenable(result) || isIterable(result)
      if (isLater || contract.output || this.#isStreaming) {
        // The context has to be set here as well, because the code of an async generator runs only when its items are
        // asked for.
        this.#settle(inherited.run(this, () => this.#answerLater(result)))
      } else {
        this.#reply(this.#bodyOf(result))
        this.#options.onover(this)
      }
    } catch (error) {
      this.#onthrown(error)
    }
  }

  #settle(answering: Promise<void>) {
    answering.then(
      () => this.#options.onover(this),
      (error) => this.#onthrown(error)
    )
  }

  async #answerLater(promised: unknown) {
    const result = await promised
    if (isIterable(result)) return this.#answerInItems(result)
    const body = this.#bodyOf(await this.#valid(result))
    if (this.#isReplied) return
    if (!this.#isStreaming) return this.#reply(body)
    await this.#replies.item(this.id, body)
    this.#reply(encodeBody(undefined))
  }

  async #answerInItems(items: AsyncIterable<unknown>) {
    if (!this.#isStreaming) {
      throw SeaportError.BAD_OUTPUT(`${this.name} answers in items: ask with stream, not send`)
    }
    // Leaving the loop ends the generator, which can then close what it has open.
    for await (const item of items) {
      if (this.#isReplied) return
      const body = this.#bodyOf(await this.#valid(item))
      if (this.#isReplied) return
      await this.#replies.item(this.id, body)
      if (this.#isReplied) return
    }
    this.#reply(encodeBody(undefined))
  }

  /** @throws BAD_OUTPUT */
  async #valid(result: unknown): Promise<unknown> {
    try {
      return await validate(this.#options.contract.output, result)
    } catch (error) {
      throw this.#badOutput(error)
    }
  }

  /** @throws BAD_OUTPUT, TOO_LARGE */
  #bodyOf(result: unknown): Body {
    const { maxBody } = this.#options
    let body: Body
    try {
      body = encodeBody(result)
    } catch (error) {
      throw this.#badOutput(error)
    }
    const { byteLength } = body.bytes
    if (byteLength <= maxBody) return body
    throw SeaportError.TOO_LARGE(
      `the answer of ${this.name} has ${byteLength} bytes, at most ${maxBody} are allowed: answer in items`
    )
  }

  #badOutput(error: unknown): SeaportError {
    const text = `the answer of ${this.name} cannot be sent (${messageOf(error)})`
    return SeaportError.BAD_OUTPUT(text, error)
  }

  /** Ends a run whose handler has thrown, or was not called because its input was refused. */
  #onthrown(error: unknown) {
    try {
      this.#failWith(error)
    } catch {
      // It cannot even be looked at, as a proxy that was revoked.
      this.#fail(SeaportError.COMMAND_FAILED(messageOf(error)), 'yes')
    }
    this.#options.onover(this)
  }

  #failWith(error: unknown) {
    if (error instanceof Refused) return this.#fail(error.reason, 'no')
    if (error instanceof SeaportError && OWN_FAILURES.has(error.code) && !error.executed) {
      return this.#fail(error, 'yes')
    }
    if (error instanceof Passed) return this.#fail(error.reason, error.reason.executed ?? 'yes')
    const [code, message] = [codeOf(error), messageOf(error)]
    this.#fail(SeaportError.COMMAND_FAILED(code ? `${code}: ${message}` : message), 'yes', code)
  }

  #reply(body: Body) {
    if (this.#isReplied) return
    this.#over(null)
    this.#replies.answer(this.id, body)
  }

  #fail(error: SeaportError, executed: Executed, handlerCode?: string) {
    if (this.#isReplied) return
    const failure = error.withExecuted(executed, handlerCode)
    this.#over(failure)
    this.#replies.fail(this.id, failure)
  }

  #over(failure: SeaportError | null) {
    this.#isReplied = true
    DEADLINES.stop(this.#waiting)
    this.#options.onreplied(this, failure)
  }
}

/**
 * The context that a handler gets. It is a class, because for object literals with getters V8 would make a hidden class
 * each time.
 */
class Context implements CallContext {
  readonly peer: string
  readonly principal: string | undefined
  readonly deadline: number
  readonly meta: Meta
  readonly #run: Run

  constructor(run: Run, peer: string) {
    this.peer = peer
    this.principal = run.meta.principal
    this.deadline = Date.now() + (run.deadline - performance.now())
    this.meta = run.meta
    this.#run = run
  }

  get signal(): AbortSignal {
    return this.#run.signal
  }
}

/** A failure of which the caller gets the original code, because the handler only passed the command on. */
export class Passed extends Error {
  readonly reason: SeaportError

  constructor(reason: SeaportError) {
    super(reason.message)
    this.reason = reason
  }
}

/** A refusal of a command before its handler was called. */
class Refused extends Error {
  readonly reason: SeaportError

  constructor(reason: SeaportError) {
    super(reason.message)
    this.reason = reason
  }
}

const OWN_FAILURES = new Set<string>(['BAD_OUTPUT', 'TOO_LARGE'])
const MAX_CODE_LENGTH = 64

function readInput({ name }: CommandContract, body: Body): unknown {
  try {
    return decodeBody(body)
  } catch (error) {
    throw new Refused(badInput(name, error))
  }
}

async function validInput(contract: CommandContract, body: Body): Promise<unknown> {
  const data = readInput(contract, body)
  try {
    return await validate(contract.input, data)
  } catch (error) {
    throw new Refused(badInput(contract.name, error))
  }
}

function badInput(name: string, error: unknown): SeaportError {
  const text = error instanceof SeaportError ? error.text : messageOf(error)
  return SeaportError.BAD_INPUT(`what was sent is not what ${name} takes: ${text}`, error)
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value
}

function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

/** The code of what a handler threw, or ''. Reading it may throw as well. */
function codeOf(thrown: unknown): string {
  try {
    const { code } = (thrown ?? {}) as { code?: unknown }
    return typeof code === 'string' ? code.slice(0, MAX_CODE_LENGTH) : ''
  } catch {
    return ''
  }
}
