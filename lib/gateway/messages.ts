import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SeaportError } from '../core/errors.js'
import { isOverHttp2 } from '../http/message-head.js'
import type { LinkPool } from '../link/pool.js'
import { type Body, decodeBody, encodeBody, MAX_BODY_BYTES } from '../messaging/body.js'
import { BODY_MEMORY, type HeldBody } from '../messaging/body-memory.js'
import { Conversations } from '../messaging/conversations.js'
import { isTraceparent, type Meta } from '../messaging/meta.js'
import { STATE } from '../messaging/names.js'
import { Sender } from '../messaging/sender.js'
import { maxFrameFor } from '../messaging/speaker.js'
import type { Directory } from '../registry/replica/directory.js'
import type { AccessList, Principal } from './access.js'
import type { ChannelLimits } from './channels/channel-limits.js'
import { Channels } from './channels/channels.js'
import { type Asking, EventStreams } from './event-streams.js'
import type { ForwardingContext, UnderWay } from './forwarding.js'
import { HalfOpen } from './half-open.js'
import type { InstanceViews } from './instance-views.js'
import type { CallTarget, EventsTarget } from './target.js'
import type { Upstream } from './upstream.js'

export interface MessagesOptions {
  /** Calls that are under way are added to `underWay`, so that the gateway ticks them. */
  context: Pick<ForwardingContext, 'underWay'>
  pool: Pick<LinkPool, 'open' | 'isSuspect' | 'pathOf' | 'follow'>
  directory: Directory
  views: InstanceViews
  channelLimits?: Partial<ChannelLimits> | undefined
}

/** Such a request with a body. */
export interface AskingWithBody extends Asking<CallTarget> {
  /** The client address that its body counts for. */
  client: string
  /** In bytes. */
  maxBody: number
}

/** Such a request as the router resolved it. */
export interface MessageRoute extends Asking<CallTarget | EventsTarget> {
  kind: 'message'
  /** The name that the client asked for. */
  host: string
}

/** The HTTP status of each error code. All others are 502. */
const STATUSES: Record<string, number> = {
  USAGE: 400,
  BAD_INPUT: 400,
  BAD_REQUEST: 400,
  TOO_LARGE: 400,
  NOT_GRANTED: 403,
  NOT_ALLOWED: 403,
  UNKNOWN_COMMAND: 404,
  BUSY: 429,
  COMMAND_FAILED: 500,
  NO_INSTANCE: 503,
  REFUSED: 503,
  CLOSED: 503,
  DEADLINE: 504,
  CANCELLED: 504
}
/** Those of hyperseaport's own commands that may be called here, as they change nothing. */
const OWN = new Set(['$describe', '$ping', '$stats', STATE])
const TIMEOUT_FIELD = 'hyperseaport-timeout'
const EXECUTED = { 'hyperseaport-executed': 'yes' }

/**
 * Serves commands and events over HTTP (`POST /call/<role@range>/<command>`, and `GET /events/<role@range>` as
 * server-sent events), and commands of pages on their channels.
 */
export class Messages {
  readonly channels: Channels
  readonly events: EventStreams
  readonly #options: MessagesOptions
  readonly #conversations: Conversations
  readonly #senders = new WeakMap<Upstream, Sender>()

  constructor(options: MessagesOptions) {
    this.#options = options
    const { pool, directory, views, channelLimits: limits } = options
    this.#conversations = new Conversations({ pool, maxFrame: maxFrameFor() })
    const call = this.#callFor.bind(this)
    this.events = new EventStreams({ pool, directory, views })
    this.channels = new Channels({ pool, directory, views, limits, call })
  }

  /** Executes a command, and answers with its outcome. An error of the command is an answer, too. */
  async call(
    request: IncomingMessage,
    response: ServerResponse,
    { target, upstream, principal, client, maxBody }: AskingWithBody
  ) {
    const leave = new AbortController()
    response.once('close', () => leave.abort())
    const ended = this.#endWithClient(request, response)
    const held = BODY_MEMORY.open(client)
    try {
      checkCommand(target.command)
      const data = await dataOf(request, Math.min(maxBody, MAX_BODY_BYTES), held)
      const isState = target.command === STATE
      // `$state` is called without arguments, which are for participants only, so that the whole state is answered.
      const value = await this.#senderOf(upstream).send(target.command, isState ? {} : data, {
        timeout: timeoutOf(request),
        signal: leave.signal,
        meta: metaOf(request, principal)
      })
      answer(response, isState ? this.#shownState(value, principal) : value)
    } catch (error) {
      if (!response.destroyed) answerFailure(request, response, error)
    } finally {
      held.release()
      ended()
    }
  }

  /** Executes a command for a page on its channel. */
  async #callFor(upstream: Upstream, command: string, body: Body, principal: Principal) {
    checkCommand(command)
    const meta = principal.isAnonymous ? {} : { principal: principal.name }
    try {
      return encodeBody(await this.#senderOf(upstream).send(command, decodeBody(body), { meta }))
    } catch (error) {
      throw error instanceof SeaportError ? shownFailure(error) : error
    }
  }

  /**
   * Ends a call when its client has left; over HTTP/1.1 that has to be found out. Returns a function that stops
   * watching.
   */
  #endWithClient(request: IncomingMessage, response: ServerResponse): () => void {
    if (isOverHttp2(request)) return () => {}
    const { underWay } = this.#options.context
    const halfOpen = new HalfOpen(request.socket)
    const call: UnderWay = {
      tick: (now) => void (halfOpen.hasLeft(now) && response.destroy())
    }
    const place = underWay.add(call)
    return () => underWay.delete(place)
  }

  /** Ends all event streams and channels. */
  close() {
    this.channels.close()
    this.events.close()
  }

  /** Ends the event streams and channels of those whose rights have changed. */
  recheck(access: Pick<AccessList, 'isCurrent'>) {
    this.channels.recheck(access)
    this.events.recheck(access)
  }

  /** Gives up what is left. Call it when all calls have been answered. */
  destroy() {
    this.channels.destroy()
    this.#conversations.close()
  }

  /** A state as a principal may see it: without signatures, and with ids in place of keys that are kept from them. */
  #shownState(value: unknown, principal: Principal) {
    const { head, entries } = (value ?? {}) as {
      head?: { owner: string; term: number; rev: number } | null
      entries?: readonly { name: string; rev: number; value: unknown }[]
    }
    if (!head || !entries) return { entries: [] }
    const { owner, term, rev } = head
    return {
      [principal.mayReachAll ? 'instance' : 'id']: this.#options.views.nameOf(owner, principal),
      term,
      rev,
      entries: entries.map(({ name, rev, value }) => ({ name, rev, value }))
    }
  }

  #senderOf(upstream: Upstream): Sender {
    const known = this.#senders.get(upstream)
    if (known) return known
    const sender = new Sender({ dialer: upstream.dialer, conversations: this.#conversations })
    this.#senders.set(upstream, sender)
    return sender
  }
}

/** @throws NOT_GRANTED for one of hyperseaport's own commands that is not for everybody */
function checkCommand(command: string) {
  if (!command.startsWith('$') || OWN.has(command)) return
  throw SeaportError.NOT_GRANTED(`${command} is not called by way of a gateway`).withExecuted('no')
}

/** The data of a command: JSON, or bytes if the Content-Type says otherwise, or undefined for an empty body. */
async function dataOf(
  request: IncomingMessage,
  maxBytes: number,
  held: HeldBody
): Promise<unknown> {
  const bytes = await readAll(request, maxBytes, held)
  if (bytes.byteLength === 0) return undefined
  if (!/json|^text\/|x-www-form|^$/i.test(request.headers['content-type'] ?? '')) return bytes
  if (!isUtf8(bytes)) {
    throw SeaportError.BAD_INPUT('the body is no JSON (it is not in UTF-8)').withExecuted('no')
  }
  try {
    return JSON.parse(bytes.toString())
  } catch (cause) {
    const text = `the body is no JSON (${(cause as Error).message})`
    throw SeaportError.BAD_INPUT(text).withExecuted('no')
  }
}

/**
 * Reads a body. If it is refused, the connection stays open for the answer.
 *
 * @throws TOO_LARGE, BUSY, BAD_REQUEST if it breaks off
 */
function readAll(request: IncomingMessage, maxBytes: number, held: HeldBody): Promise<Buffer> {
  const pieces: Buffer[] = []
  let size = 0
  return new Promise((resolve, reject) => {
    const stop = (error: SeaportError) => {
      request.off('data', ondata)
      pieces.length = 0
      reject(error.withExecuted('no'))
    }
    const ondata = (piece: Buffer) => {
      size += piece.byteLength
      if (size > maxBytes)
        return stop(SeaportError.TOO_LARGE(`a command takes at most ${maxBytes} bytes`))
      try {
        held.take(piece.byteLength)
      } catch (error) {
        return stop(error as SeaportError)
      }
      pieces.push(piece)
    }
    request.on('data', ondata)
    request.once('end', () => resolve(Buffer.concat(pieces)))
    request.once('close', () => stop(SeaportError.BAD_REQUEST('the body broke off')))
  })
}

function timeoutOf({ headers }: IncomingMessage): number | undefined {
  const text = headers[TIMEOUT_FIELD]
  if (text === undefined) return undefined
  const timeout = Number(text)
  if (timeout > 0) return timeout
  throw SeaportError.BAD_REQUEST(`${TIMEOUT_FIELD} is a number of ms`).withExecuted('no')
}

function metaOf({ headers }: IncomingMessage, principal: Principal): Meta {
  const { traceparent } = headers
  return {
    ...(!principal.isAnonymous && { principal: principal.name }),
    ...(isTraceparent(traceparent) && { traceparent })
  }
}

function answer(response: ServerResponse, value: unknown) {
  if (value === undefined) return void response.writeHead(204, EXECUTED).end()
  const isBytes = value instanceof Uint8Array
  const body = isBytes ? value : Buffer.from(`${JSON.stringify(value)}\n`)
  response.writeHead(200, {
    'Content-Type': isBytes ? 'application/octet-stream' : 'application/json; charset=utf-8',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...EXECUTED
  })
  response.end(body)
}

function answerFailure(request: IncomingMessage, response: ServerResponse, error: unknown) {
  if (!(error instanceof SeaportError)) throw error
  const { code, executed = 'no', handlerCode } = error
  const status = code === 'TOO_LARGE' && executed === 'yes' ? 502 : (STATUSES[code] ?? 502)
  const message = PRIVATE.get(code) ?? error.text
  const failure = { error: code, status, message, executed, ...(handlerCode && { handlerCode }) }
  const body = `${JSON.stringify(failure)}\n`
  // The rest of the request would be read only to be dropped, so the connection is closed.
  const isRead = request.complete || isOverHttp2(request)
  response.writeHead(status, {
    ...(!isRead && { Connection: 'close' }),
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'hyperseaport-executed': executed,
    ...((status === 429 || status === 503) && { 'Retry-After': '1' })
  })
  response.end(body)
}

/** Shown in place of texts that name keys and backends, which are for the log alone. */
const PRIVATE = new Map([
  ['NO_INSTANCE', 'no instance of the service could be reached'],
  ['NOT_GRANTED', 'the gateway may not call this command'],
  ['NOT_ALLOWED', 'the service does not let this gateway in'],
  ['LINK_LOST', 'the link to the service was lost']
])

/** The error as a page may see it. */
function shownFailure(error: SeaportError): SeaportError {
  const text = PRIVATE.get(error.code)
  return text === undefined ? error : SeaportError.remote(error.code, text)
}
