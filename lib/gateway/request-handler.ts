import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import { checkLength } from '../http/request-body.js'
import type { Principal } from './access.js'
import type { AccessEntry } from './access-log.js'
import { principalOnChannel } from './channels/principal.js'
import { closeWhenReset, isClosed } from './client-response.js'
import { Forwarding, type ForwardingContext } from './forwarding.js'
import { isLargeHead } from './gateway-server.js'
import type { Ledger } from './ledger.js'
import { linger } from './linger.js'
import type { MessageRoute, Messages } from './messages.js'
import { checkOrigin } from './origin.js'
import { LARGE_HEAD, refusalOf, refusalText, refuse } from './refusal.js'
import type { ChannelRoute, ForwardRoute, Router } from './router.js'
import { forwardUpgrade } from './upgrade.js'
import type { Upstreams } from './upstream.js'

/** A page of the gateway's own. */
export type Page = (
  request: IncomingMessage,
  response: ServerResponse,
  principal: Principal,
  /** The address that the request counts for. */
  client: string
) => void | Promise<void>

export interface RequestHandlerOptions {
  router: Router
  upstreams: Upstreams
  context: ForwardingContext
  ledger: Ledger
  messages: Messages
  /** Pages by path. */
  pages: ReadonlyMap<string, Page>
  maxHeaderBytes: number
  maxBodyBytes?: number | undefined
}

/** Hands each request to what serves its route, and answers it with an error if it has none. */
export class RequestHandler {
  readonly #options: RequestHandlerOptions

  constructor(options: RequestHandlerOptions) {
    this.#options = options
  }

  /** Never rejects. */
  async onrequest(request: IncomingMessage, response: ServerResponse) {
    const { ledger } = this.#options
    const entry = ledger.open(request)
    response.on('error', () => {})
    request.on('error', () => {})
    closeWhenReset(response)
    try {
      if (isLargeHead(request, this.#options.maxHeaderBytes)) {
        return refuse(request, response, LARGE_HEAD)
      }
      const preflight = this.#options.router.preflightOf(request)
      if (preflight) return preflight.answerPreflight(response)
      const route = await this.#options.router.route(request)
      // It may have left while its password was checked, and then nothing would tell that it did.
      if (isClosed(response)) throw SeaportError.CLOSED('the client left')
      entry.principal = route.principal.name
      if (route.kind === 'forward') await this.#forward(request, response, route, entry)
      else if (route.kind === 'message') await this.#talk(request, response, route, entry)
      else if (route.kind === 'channel') {
        throw SeaportError.BAD_REQUEST('a channel is a WebSocket, and nothing else')
      } else if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw SeaportError.METHOD_NOT_ALLOWED('this page can only be read')
      } else if (route.kind === 'list') {
        sendJson(request, response, this.#options.upstreams.list(route.role, route.principal))
      } else await this.#show(request, response, route.path, route.principal)
    } catch (error) {
      this.#refuse(request, response, error, entry)
    } finally {
      entry.status = response.headersSent ? response.statusCode : 499
      ledger.close(entry)
    }
  }

  async #forward(
    request: IncomingMessage,
    response: ServerResponse,
    route: ForwardRoute,
    entry: AccessEntry
  ) {
    const { upstream, path, isOurAuthorization } = route
    const { router, context, maxBodyBytes = Infinity } = this.#options
    entry.upstream = upstream.name
    const cors = router.corsOf(request, upstream)
    checkLength(request, maxBodyBytes)
    const forwarding = new Forwarding(context, {
      request,
      response,
      upstream,
      path,
      forwarded: router.forwardedOf(request, route),
      timeout: router.deadlineOf(route),
      maxBodyBytes,
      dropAuthorization: isOurAuthorization,
      isHttp2: (key) => router.isHttp2(request, key),
      amend: (headers) => cors?.amend(headers) ?? headers
    })
    try {
      await forwarding.run()
    } finally {
      Object.assign(entry, forwarding.stats)
      entry.role = upstream.instances()[0]?.role ?? ''
    }
  }

  async #talk(
    request: IncomingMessage,
    response: ServerResponse,
    { target, upstream, principal, host }: MessageRoute,
    entry: AccessEntry
  ) {
    const { messages, router, maxBodyBytes: maxBody = Infinity } = this.#options
    entry.upstream = upstream.name
    entry.role = target.role.role
    checkOrigin(request, host, new Set(router.rules.cors.map(({ origin }) => origin)))
    if (target.kind === 'call') {
      if (request.method !== 'POST') {
        throw SeaportError.METHOD_NOT_ALLOWED('commands are called with POST')
      }
      const client = router.clientOf(request)
      return messages.call(request, response, { target, upstream, principal, client, maxBody })
    }
    if (request.method !== 'GET') {
      throw SeaportError.METHOD_NOT_ALLOWED('events are heard with GET')
    }
    await messages.events.listen(request, response, { target, upstream, principal })
  }

  /** Never rejects. */
  async onupgrade(request: IncomingMessage, socket: Duplex) {
    const { router, ledger } = this.#options
    const entry = ledger.open(request)
    let isLasting = false
    try {
      const route = await router.route(request)
      if (socket.destroyed) throw SeaportError.CLOSED('the client left')
      if (route.kind === 'channel') {
        this.#openChannel(request, socket, route, entry)
        socket.once('close', closing(ledger, entry))
        isLasting = true
        return
      }
      if (route.kind !== 'forward') throw SeaportError.BAD_REQUEST('this page speaks HTTP only')
      entry.principal = route.principal.name
      entry.upstream = route.upstream.name
      entry.role = route.upstream.instances()[0]?.role ?? ''
      const cors = router.corsOf(request, route.upstream)
      const outcome = await forwardUpgrade(this.#options.context, {
        request,
        socket: request.socket,
        upstream: route.upstream,
        path: route.path,
        forwarded: router.forwardedOf(request, route),
        timeout: router.deadlineOf(route),
        dropAuthorization: route.isOurAuthorization,
        amend: (headers) => cors?.amend(headers) ?? headers
      })
      Object.assign(entry, outcome)
    } catch (error) {
      const refusal = refusalOf(error)
      entry.status = refusal.status
      ledger.fail(entry, error)
      linger(request.socket, refusalText(refusal, request))
    } finally {
      if (!isLasting) ledger.close(entry)
    }
  }

  /**
   * Opens a channel for a page. The page sends its token once it is connected, so that no token is in a URL or a log.
   */
  #openChannel(request: IncomingMessage, socket: Duplex, route: ChannelRoute, entry: AccessEntry) {
    const { router, messages, upstreams } = this.#options
    const client = router.clientOf(request)
    entry.status = 101
    entry.principal = route.principal.name
    messages.channels.take({
      request,
      socket,
      client,
      enter: async (access) => {
        const principal = await principalOnChannel(
          router.rules,
          { ...route, request, client },
          access
        )
        entry.principal = principal.name
        return { principal, upstream: upstreams.ofRole(route.role, principal) }
      },
      isCurrent: (principal) => router.rules.access.isCurrent(principal)
    })
  }

  async #show(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    principal: Principal
  ) {
    const page = this.#options.pages.get(path)
    if (!page)
      throw SeaportError.NOT_FOUND(`there is no page ${JSON.stringify(path.slice(0, 100))} here`)
    await page(request, response, principal, this.#options.router.clientOf(request))
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown, entry: AccessEntry) {
    const refusal = refusalOf(error)
    const cors = this.#options.router.corsOf(request)
    this.#options.ledger.fail(entry, error)
    if (request.url?.startsWith('/call/')) refusal.headers['hyperseaport-executed'] = 'no'
    if (response.headersSent) response.destroy()
    else if (!response.destroyed) refuse(request, response, cors?.amendRefusal(refusal) ?? refusal)
  }
}

function sendJson(request: IncomingMessage, response: ServerResponse, value: unknown) {
  const body = `${JSON.stringify(value)}\n`
  response.writeHead(200, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store'
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** It refers to no request, because a channel lasts, and a request takes much memory. */
function closing(ledger: RequestHandlerOptions['ledger'], entry: AccessEntry): () => void {
  return () => ledger.close(entry)
}
