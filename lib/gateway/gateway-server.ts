import { createServer, type IncomingMessage, type Server } from 'node:http'
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { KEEP_ALIVE_MS } from '../core/listen.js'
import { httpDate } from '../http/date.js'
import { isOverHttp2, UNCOUNTED } from '../http/message-head.js'
import { linger } from './linger.js'
import { Pipeline } from './pipeline.js'
import type { CertificateSource } from './tls-certificate.js'

export interface GatewayServerOptions {
  /** Serves HTTPS with this, HTTP/2 included. */
  certificate?: CertificateSource | undefined
  maxHeaderBytes: number
  /** How long the header section of a request may take, in ms; not more than `requestTimeout`. */
  headersTimeout: number
  /** How long a whole request may take, in ms. */
  requestTimeout: number
}

/** It is longer than the 60 s that load balancers in front usually keep a connection, so that they close first. */
export const KEEP_ALIVE_TIMEOUT_MS = 65_000
const KEPT = `Connection: keep-alive\r\nKeep-Alive: timeout=${KEEP_ALIVE_TIMEOUT_MS / 1000}\r\n`
const NOT_KEPT = 'Connection: close\r\n'
/**
 * How often node:http looks for requests that take too long, in ms. Its default of 30 s would be added to every limit.
 */
const CHECKING_INTERVAL_MS = 1000
/** How many requests one connection of HTTP/2 may have at a time. */
const MAX_CONCURRENT_STREAMS = 256
/** What a field of HTTP/2 counts beside its name and value, in bytes (RFC 9113 §6.5.2). */
const FIELD_BYTES = 32
const CLIENT_ERRORS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout'
}

/** The fields that tell whether a connection is kept, as node:http writes them. */
export function connectionLines(isKept: boolean): string {
  return isKept ? KEPT : NOT_KEPT
}

/** A server that reads requests to the letter of RFC 9112: what is ambiguous is refused, never guessed. */
export function makeServer({
  certificate,
  maxHeaderBytes,
  ...timeouts
}: GatewayServerOptions): Server | Http2SecureServer {
  const options = {
    ...timeouts,
    maxHeaderSize: maxHeaderBytes,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: CHECKING_INTERVAL_MS,
    insecureHTTPParser: false,
    // The router checks Host itself: node:http would refuse such a request before those ahead of it were answered.
    requireHostHeader: false,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS
  }
  const server = certificate
    ? createSecureServer({
        ...options,
        ...http2Options(maxHeaderBytes),
        allowHTTP1: true,
        SNICallback: (name, done) => done(null, certificate.contextFor(name))
      })
    : createServer(options)
  // For HTTP/1.1 over TLS, node:http2 reads these from the server only.
  Object.assign(server, options)
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    // The client said that its last request was the last one. Whatever follows is ignored, and is no error.
    if (error.code === 'HPE_CLOSED_CONNECTION') return
    Pipeline.of(socket).fail((hasBegun) => onClientError(error, socket, hasBegun))
  })
  // A client that sends no more still gets its answers. HalfOpen finds those that have left.
  Object.assign(server, { httpAllowHalfOpen: true, maxHeadersCount: UNCOUNTED })
  return server as Server | Http2SecureServer
}

/** Reads HTTP/2 in clear text from the connections that it is given. It does not listen by itself. */
export function makeHttp2Server(maxHeaderBytes: number): Http2Server {
  return createHttp2Server(http2Options(maxHeaderBytes))
}

/** As over HTTP/1.1, only the size of a head counts, and not its fields, of which Node's limit is 128. */
function http2Options(maxHeaderBytes: number) {
  // node:http2 resets what is above its limit. What is above ours can be answered as long as it is below that one.
  const maxHeaderListSize = 2 * maxHeaderBytes
  return {
    settings: { maxHeaderListSize, maxConcurrentStreams: MAX_CONCURRENT_STREAMS },
    maxHeaderListPairs: Math.ceil(maxHeaderListSize / FIELD_BYTES)
  }
}

/** Whether the head of a request over HTTP/2 is too large. node:http refuses those over HTTP/1.1. */
export function isLargeHead(request: IncomingMessage, maxHeaderBytes: number): boolean {
  const { rawHeaders } = request
  const bytes = (rawHeaders.length / 2) * FIELD_BYTES
  return (
    isOverHttp2(request) &&
    rawHeaders.reduce((sum, { length }) => sum + length, bytes) > maxHeaderBytes
  )
}

/** Makes a server read requests from a connection, as it does from those that it accepts. */
export function readFrom(
  server: Server | Http2Server | Http2SecureServer
): (connection: Duplex) => void {
  const event = 'setSecureContext' in server ? 'secureConnection' : 'connection'
  const [read] = server.listeners(event) as ((connection: Duplex) => void)[]
  if (!read) throw new Error('a server that reads nothing')
  return (connection) => read.call(server, connection)
}

/** Called when a client sent something that is not HTTP, or that breaks its rules. */
function onClientError(error: NodeJS.ErrnoException, socket: Socket, hasBegun: boolean) {
  if (hasBegun || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = CLIENT_ERRORS[error.code ?? ''] ?? '400 Bad Request'
  const date = httpDate()
  linger(
    socket,
    `HTTP/1.1 ${status}\r\nDate: ${date}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
  )
}
