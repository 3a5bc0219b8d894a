import { SeaportError } from '../core/errors.js'
import type { Executed } from '../core/executed.js'
import { type Body, decodeBody, encodeBody } from './body.js'
import { type CallContext, inherited } from './call-context.js'
import { type CommandContract, validate } from './contract.js'
import { MAX_TIMEOUT_MS } from './limits.js'
import type { Meta } from './meta.js'

/** Executes a command. Its answer is what it returns; one that comes in items is an async iterable. */
export type Handler<I = unknown, O = unknown> = (
  // biome-ignore lint/suspicious/noExplicitAny: who has no contract knows what it is sent
  data: any extends I ? any : I,
  context: CallContext
) => O | Promise<O> | AsyncIterable<O>

/** A command as it came. */
export interface Incoming {
  name: string
  /** Of the caller, in hex. */
  peer: string
  body: Body
  meta: Meta
  /** In ms. */
  timeLeft: number
  isStreaming: boolean
}

/** Who called. Told of the end once, by one of the first two. */
export interface Reply {
  answer(body: Body): void
  fail(error: SeaportError): void
  /** Resolves when the caller has room for more. */
  item(body: Body): Promise<void>
  queued(): void
  started(): void
}

export interface RunOptions {
  incoming: Incoming
  reply: Reply
  handler: Handler
  contract: CommandContract
  /** Of an answer, in bytes. */
  maxBody: number
  /** It is over for who called, `failure` says how; the handler may run on. */
  onreplied: (failure: SeaportError | null) => void
  /** The handler has ended, or will not begin. */
  onover: () => void
}

/** One command that is executed here, from when it came until its handler has ended. */
export class Run {
  readonly #options: RunOptions
  readonly #deadline: number
  readonly #timer: NodeJS.Timeout
  #abort: AbortController | null = null
  #ended: SeaportError | null = null
  #isQueued = false
  #isStarted = false
  /** From when on it cannot be undone. */
  #isExecuting = false
  #isReplied = false

  constructor(options: RunOptions) {
    const timeLeft = Math.min(options.incoming.timeLeft, MAX_TIMEOUT_MS)
    this.#options = options
    this.#deadline = performance.now() + timeLeft
    const late = () => this.cancel(SeaportError.DEADLINE(`it was not done within ${timeLeft} ms`))
    this.#timer = setTimeout(late, timeLeft)
  }

  get isStarted(): boolean {
    return this.#isStarted
  }

  get name(): string {
    return this.#options.incoming.name
  }

  /** It is not its turn yet, and who called is told so. */
  queue() {
    this.#isQueued = true
    this.#options.reply.queued()
  }

  /** Its turn has come. */
  start() {
    if (this.#isStarted || this.#isReplied) return
    this.#isStarted = true
    if (this.#isQueued) this.#options.reply.started()
    void this.#execute()
  }

  /** Ends it: the caller is told so at once, and the handler by its signal. */
  cancel(reason: SeaportError) {
    if (this.#isReplied) return
    this.#ended = reason
    this.#fail(reason, this.#isExecuting ? 'perhaps' : 'no')
    this.#abort?.abort(reason)
    if (!this.#isStarted) this.#options.onover()
  }

  /** Never rejects. */
  async #execute() {
    try {
      const { incoming, contract, handler } = this.#options
      const data = contract.input
        ? await validInput(contract, incoming.body)
        : readInput(contract, incoming.body)
      if (this.#isReplied) return
      this.#isExecuting = true
      const { meta } = incoming
      const context = this.#context()
      const shared = {
        deadline: this.#deadline,
        meta,
        get signal() {
          return context.signal
        }
      }
      const result = await inherited.run(shared, () => handler(data, context))
      if (isIterable(result)) await this.#answerInItems(result)
      else await this.#answer(result)
    } catch (error) {
      this.#onthrown(error)
    } finally {
      this.#options.onover()
    }
  }

  async #answer(result: unknown) {
    const body = await this.#bodyOf(result)
    if (this.#isReplied) return
    if (!this.#options.incoming.isStreaming) return this.#reply(body)
    await this.#options.reply.item(body)
    this.#reply(encodeBody(undefined))
  }

  async #answerInItems(items: AsyncIterable<unknown>) {
    if (!this.#options.incoming.isStreaming) {
      throw SeaportError.BAD_OUTPUT(`${this.name} answers in items: ask with stream, not send`)
    }
    // Leaving the loop ends the generator, and with it what that has open.
    for await (const item of items) {
      if (this.#isReplied) return
      const body = await this.#bodyOf(item)
      if (this.#isReplied) return
      await this.#options.reply.item(body)
    }
    this.#reply(encodeBody(undefined))
  }

  /** @throws BAD_OUTPUT, TOO_LARGE */
  async #bodyOf(result: unknown): Promise<Body> {
    const { contract, maxBody } = this.#options
    let body: Body
    try {
      body = encodeBody(contract.output ? await validate(contract.output, result) : result)
    } catch (error) {
      throw SeaportError.BAD_OUTPUT(
        `the answer of ${this.name} cannot be sent (${(error as Error).message})`,
        error
      )
    }
    const { byteLength } = body.bytes
    if (byteLength <= maxBody) return body
    throw SeaportError.TOO_LARGE(
      `the answer of ${this.name} has ${byteLength} bytes, ${maxBody} may be: answer in items`
    )
  }

  #onthrown(error: unknown) {
    if (error instanceof Refused) return this.#fail(error.reason, 'no')
    if (error instanceof SeaportError && OWN_FAILURES.has(error.code) && !error.executed) {
      return this.#fail(error, 'yes')
    }
    if (error instanceof Passed) return this.#fail(error.reason, error.reason.executed ?? 'yes')
    const { code, message } = describe(error)
    this.#fail(SeaportError.COMMAND_FAILED(code ? `${code}: ${message}` : message), 'yes', code)
  }

  #reply(body: Body) {
    if (this.#isReplied) return
    this.#over(null)
    this.#options.reply.answer(body)
  }

  #fail(error: SeaportError, executed: Executed, handlerCode?: string) {
    if (this.#isReplied) return
    const failure = error.of(executed, handlerCode)
    this.#over(failure)
    this.#options.reply.fail(failure)
  }

  #over(failure: SeaportError | null) {
    this.#isReplied = true
    clearTimeout(this.#timer)
    this.#options.onreplied(failure)
  }

  #context(): CallContext {
    const { peer, meta, timeLeft } = this.#options.incoming
    const signal = () => this.#signal
    return {
      peer,
      principal: meta.principal,
      deadline: Date.now() + timeLeft,
      meta,
      // Few handlers look at it, and it costs more than the rest.
      get signal() {
        return signal()
      }
    }
  }

  get #signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#ended) this.#abort.abort(this.#ended)
    return this.#abort.signal
  }
}

/** A failure that is told as it is: the handler only passes the command on. */
export class Passed extends Error {
  readonly reason: SeaportError

  constructor(reason: SeaportError) {
    super(reason.message)
    this.reason = reason
  }
}

/** What is not for the handler to see. */
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
  const text = error instanceof SeaportError ? error.text : (error as Error).message
  return SeaportError.BAD_INPUT(`what was sent is not what ${name} takes: ${text}`, error)
}

function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

/** What others may know of what a handler threw: whatever that is, and however it is made. */
function describe(thrown: unknown): { code: string; message: string } {
  try {
    const { code, message } = (thrown ?? {}) as { [field: string]: unknown }
    return {
      code: typeof code === 'string' ? code.slice(0, MAX_CODE_LENGTH) : '',
      message: String(typeof message === 'string' ? message : thrown)
    }
  } catch {
    return { code: '', message: 'it threw what cannot be told' }
  }
}
