import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { Test } from 'tap'
import type { Web, WebOptions } from '../../lib/index.js'
import { Harbor, portOf } from './harbor.js'

/** What a client says, and what the service answers to the requests that come of it. */
export interface Conversation {
  /** Written one after the other, in turns of the event loop of their own. */
  pieces: Buffer[]
  /** @param index which request of the conversation it is */
  answer: (request: IncomingMessage, response: ServerResponse, index: number) => void
  /** Whether the client says at the end that it asks for no more. Else a request has to say it. */
  ends?: boolean
}

/** What came of a conversation, as far as it may not depend on which path its requests took. */
export interface Outcome {
  /** What the client heard, byte for byte but for the time and the gateway's name. */
  heard: Buffer
  /** How its connection ended. */
  end: string
  /** What the service received, in the order in which it came. */
  received: Received[]
}

export interface Received {
  line: string
  fields: string[]
  body: string
  trailers: string[]
}

/** A gateway with its fast path, and one without, before one service. */
export class Twins {
  readonly harbor: Harbor
  readonly backend: Server
  readonly #fast: Web
  readonly #plain: Web
  #listener: (request: IncomingMessage, response: ServerResponse) => void = () => {}

  private constructor(harbor: Harbor, backend: Server, fast: Web, plain: Web) {
    this.harbor = harbor
    this.backend = backend
    this.#fast = fast
    this.#plain = plain
    backend.on('request', (request, response) => this.#listener(request, response))
    backend.on('checkContinue', (request, response) => this.#listener(request, response))
  }

  static async make(t: Test, role: string, options: Partial<WebOptions> = {}): Promise<Twins> {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend(() => {})
    backend.removeAllListeners('request')
    backend.maxHeadersCount = 0
    await harbor.service(role, portOf(backend))
    const fast = await harbor.web({ ...options, fastPath: true })
    const plain = await harbor.web({ ...options, fastPath: false })
    return new Twins(harbor, backend, fast, plain)
  }

  /** What comes of the same conversation with the fast path, and without. */
  async converse(conversation: Conversation): Promise<{ fast: Outcome; plain: Outcome }> {
    const fast = await this.#through(this.#fast, conversation)
    const plain = await this.#through(this.#plain, conversation)
    return { fast, plain }
  }

  /** What comes of it without a gateway in between. */
  direct(conversation: Conversation): Promise<Outcome> {
    return this.#converse(portOf(this.backend), conversation)
  }

  async #through(web: Web, conversation: Conversation): Promise<Outcome> {
    const outcome = await this.#converse(web.port, conversation)
    while (web.getStats().gateway.active > 0) await once(web, 'access')
    return outcome
  }

  async #converse(port: number, { pieces, answer, ends }: Conversation): Promise<Outcome> {
    const received: Received[] = []
    let index = 0
    const reading: Promise<void>[] = []
    const address = nextAddress()
    this.#listener = (request, response) => {
      // One that was left behind by the conversation before may come late.
      const { headers, socket } = request
      const client = headers['x-forwarded-for'] ?? socket.remoteAddress
      if (!String(client).endsWith(address)) {
        request.socket.destroy()
        return
      }
      const entry = toReceived(request)
      received.push(entry)
      const at = index++
      if (request.headers.expect) response.writeContinue()
      reading.push(
        readBody(request).then(({ body, trailers }) => {
          Object.assign(entry, { body, trailers })
          answer(request, response, at)
        })
      )
    }
    const socket = connect({ port, host: '127.0.0.1', localAddress: address, allowHalfOpen: true })
    socket.setNoDelay()
    const chunks: Buffer[] = []
    let end = 'cut'
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('end', () => {
      end = 'ended'
      socket.end()
    })
    // A gateway that cuts may be quicker than what is written to it; `once` would reject for that.
    const closed = new Promise((resolve) => socket.on('close', resolve))
    await once(socket, 'connect')
    for (const piece of pieces) {
      socket.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (ends) socket.end()
    await closed
    await Promise.all(reading)
    const heard = impersonal(Buffer.concat(chunks).toString('latin1'))
    return { heard: Buffer.from(heard, 'latin1'), end, received }
  }
}

function toReceived({ method, url, httpVersion, rawHeaders }: IncomingMessage): Received {
  const fields: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    fields.push(impersonal(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`))
  }
  return { line: `${method} ${url} ${httpVersion}`, fields, body: '', trailers: [] }
}

/** Resolves when a request is over, whether it came to its end or was cut. */
async function readBody(request: IncomingMessage): Promise<{ body: string; trailers: string[] }> {
  let body = ''
  request.setEncoding('latin1')
  request.on('data', (chunk) => {
    body += chunk
  })
  await new Promise((resolve) => {
    request.on('end', resolve)
    request.on('error', resolve)
    request.on('close', resolve)
  })
  return { body: request.complete ? body : 'cut', trailers: request.rawTrailers }
}

let addresses = 0

/** Of loopback: what the gateway says of its client tells the conversations apart. */
function nextAddress(): string {
  const index = addresses++ % 2 ** 16
  return `127.1.${index >> 8}.${index & 255}`
}

/** Without what differs between two gateways, or two moments. */
function impersonal(text: string): string {
  return (
    text
      .replaceAll(/hyperseaport-[0-9a-f]{8}/g, 'hyperseaport-…')
      .replaceAll(/Date: [^\r]*GMT/g, 'Date: …')
      .replaceAll(/127\.1\.\d+\.\d+/g, '127.…')
      // Its own address stands for a Host that did not come.
      .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:…')
  )
}
