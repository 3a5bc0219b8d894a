import { SeaportError } from '../core/errors.js'
import { messageOf } from '../core/thrown.js'
import { type Body, decodeBody, encodeBody, MAX_BODY_BYTES } from './body.js'
import type { Outgoing } from './caller.js'
import { type CommandContract, type StandardSchema, validate } from './contract.js'
import type { Conversations } from './conversations.js'
import { type LimitOptions, Limits, MAX_TIMEOUT_MS } from './limits.js'
import { checkName } from './names.js'
import { type Lender, Sending, type SendingOptions } from './sending.js'
import { Streaming } from './streaming.js'

export interface SendOptions extends LimitOptions {
  /**
   * Whether it may be executed twice. Such a command is sent to another instance when one is lost or does not answer
   * soon.
   */
  idempotent?: boolean | undefined
  /** The key of the only instance to send it to. */
  instance?: string | undefined
  /**
   * `any` sends the command as a letter to one instance that takes letters, if no link can be made and nothing was sent
   * yet. The command and its answer then have 60 KiB each at most. Default: `link`, by links alone.
   */
  via?: 'link' | 'any' | undefined
}

export interface SenderOptions {
  dialer: Lender
  conversations: Conversations
  /**
   * Sends a command by letter, to the instance that is named or to any one.
   *
   * @throws the error that it ended with; its `executed` says whether it may have been executed
   */
  byLetter?:
    | ((outgoing: Outgoing, instance: string | undefined, signal: AbortSignal) => Promise<Body>)
    | undefined
  /** The largest body of a command or an answer, in bytes. */
  maxBody?: number | undefined
  /** After what time an idempotent command is sent to a second instance as well, in ms. */
  hedgeAfter?: number | undefined
}

const HEDGE_AFTER_MS = 250
/** Codes that mean that no link could be made. */
const NO_LINK = new Set(['NO_INSTANCE', 'LINK_LOST', 'OPEN_TIMEOUT'])

/** Sends commands to the instances of a role. */
export class Sender {
  readonly stats = { sent: 0, failed: 0 }
  readonly #options: SenderOptions
  readonly #maxBody: number
  readonly #hedgeAfter: number

  constructor(options: SenderOptions) {
    this.#options = options
    this.#maxBody = options.maxBody ?? MAX_BODY_BYTES
    this.#hedgeAfter = options.hedgeAfter ?? HEDGE_AFTER_MS
  }

  /**
   * Sends a command, and resolves with its answer.
   *
   * @throws the error that it ended with; its `executed` says whether the command may have been executed
   */
  send(
    command: string | CommandContract,
    data?: unknown,
    options: SendOptions = {}
  ): Promise<unknown> {
    // There is one promise for all of it, because each further one would cost as much as the rest.
    return new Promise((resolve, reject) => {
      const limits = new Limits(options)
      const { name, input, output } = termsOf(command)
      const onfailure = (error: unknown) => {
        limits.stop()
        this.stats.failed++
        reject(error)
      }
      const onanswer = (body: Body) => {
        limits.stop()
        if (output) return void validOutput(name, output, body).then(resolve, onfailure)
        try {
          resolve(readAnswer(name, body))
        } catch (error) {
          onfailure(error)
        }
      }
      const start = (valid: unknown) => {
        const outgoing = this.#outgoing(name, valid, limits)
        const { byLetter } = this.#options
        let isOver = false
        const sending = new Sending(outgoing, this.#sendingOptions(command, options), {
          onanswer,
          onfailure: (error) => {
            const mayGo =
              options.via === 'any' && error.executed === 'no' && NO_LINK.has(error.code)
            if (!byLetter || !mayGo || isOver) return onfailure(error)
            const abort = new AbortController()
            stop = (reason) => abort.abort(reason)
            byLetter(outgoing, options.instance, abort.signal).then(onanswer, onfailure)
          }
        })
        let stop = (reason: SeaportError) => sending.abort(reason)
        this.stats.sent++
        limits.watch((reason) => {
          isOver = true
          stop(reason)
        })
        sending.start()
      }
      try {
        if (limits.isOver) throw limits.reason.withExecuted('no')
        if (input) validInput(name, input, data).then(start).catch(onfailure)
        else start(data)
      } catch (error) {
        onfailure(error)
      }
    })
  }

  /**
   * Sends a command whose answer comes in items, and yields each as soon as it arrives. A reader that is slow holds up
   * nothing else. Leaving the loop ends the handler. Without a timeout the command may take as long as it likes.
   *
   * @throws the error that it ended with; nothing is tried again once an item has come
   */
  async *stream(
    command: string | CommandContract,
    data?: unknown,
    options: SendOptions = {}
  ): AsyncGenerator<unknown, void, void> {
    const limits = new Limits({ timeout: MAX_TIMEOUT_MS, ...options })
    const { name, input, output } = termsOf(command)
    try {
      if (limits.isOver) throw limits.reason.withExecuted('no')
      const valid = input ? await validInput(name, input, data) : data
      const outgoing = this.#outgoing(name, valid, limits)
      const streaming = new Streaming(outgoing, this.#sendingOptions(command, options))
      this.stats.sent++
      limits.watch((reason) => streaming.abort(reason))
      for await (const body of streaming.run()) {
        yield output ? await validOutput(name, output, body) : readAnswer(name, body)
      }
    } catch (error) {
      this.stats.failed++
      throw error
    } finally {
      limits.stop()
    }
  }

  #sendingOptions(
    command: string | CommandContract,
    { instance, idempotent }: SendOptions
  ): SendingOptions {
    const { dialer, conversations } = this.#options
    const hedgeAfter = this.#hedgeAfter
    const isIdempotent = idempotent ?? isIdempotentCommand(command)
    return { dialer, conversations, instance, isIdempotent, hedgeAfter }
  }

  #outgoing(name: string, data: unknown, { meta, deadline }: Limits): Outgoing {
    return { name, body: this.#bodyOf(name, data), meta, deadline }
  }

  /** @throws BAD_INPUT, TOO_LARGE */
  #bodyOf(name: string, data: unknown): Body {
    let body: Body
    try {
      body = encodeBody(data)
    } catch (error) {
      throw badInput(name, error)
    }
    const { byteLength } = body.bytes
    if (byteLength <= this.#maxBody) return body
    throw SeaportError.TOO_LARGE(
      `what is sent with ${name} has ${byteLength} bytes, at most ${this.#maxBody} are allowed`
    ).withExecuted('no')
  }
}

function badInput(name: string, error: unknown): SeaportError {
  const text = `what is sent is not what ${name} takes: ${messageOf(error)}`
  return SeaportError.BAD_INPUT(text, error).withExecuted('no')
}

function readAnswer(name: string, body: Body): unknown {
  try {
    return decodeBody(body)
  } catch (error) {
    throw SeaportError.BAD_OUTPUT(`the answer of ${name} cannot be read`, error).withExecuted('yes')
  }
}

async function validInput(name: string, schema: StandardSchema, data: unknown): Promise<unknown> {
  try {
    return await validate(schema, data)
  } catch (error) {
    throw badInput(name, error)
  }
}

async function validOutput(name: string, schema: StandardSchema, body: Body): Promise<unknown> {
  const value = readAnswer(name, body)
  try {
    return await validate(schema, value)
  } catch (error) {
    const text = `the answer of ${name} is not as it should be: ${messageOf(error)}`
    throw SeaportError.BAD_OUTPUT(text, error).withExecuted('yes')
  }
}

/** @throws USAGE */
function termsOf(command: string | CommandContract): CommandContract {
  const terms = typeof command === 'string' ? { name: command } : (command ?? { name: '' })
  try {
    checkName(terms.name, 'a command')
  } catch (error) {
    throw (error as SeaportError).withExecuted('no')
  }
  return terms
}

function isIdempotentCommand(command: string | CommandContract): boolean {
  return typeof command !== 'string' && command.idempotent === true
}
