import type { Socket } from 'node:net'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { KEEP_ALIVE_MS, LOOPBACK, LOOPBACK_6 } from '../core/listen.js'
import { tcpSocket } from '../link/direct/tcp-socket.js'

/** What a service's streams are connected to: a TCP address that this machine can reach. */
export interface Backend {
  host: string
  port: number
  /** Where else to look if nothing listens there. */
  otherwise?: string
}

/**
 * A port of this machine. It is looked for on ::1 too, because a server that listens on `localhost` may be there alone,
 * where ::1 comes first in /etc/hosts (as on Debian and macOS).
 */
export function localBackend(port: number): Backend {
  return { host: LOOPBACK, port, otherwise: LOOPBACK_6 }
}

export interface ConnectBackendOptions {
  /** In ms. */
  timeout?: number
  signal?: Signal
}

/** A name of loopback (RFC 6761), even where /etc/hosts has it for one of the two families alone. */
const LOCALHOST = 'localhost'
/** It is shorter than the timeout of who opens the stream, so that they are told why it failed. */
const CONNECT_TIMEOUT_MS = 1500

/**
 * Reads where a backend is: a port on loopback, or `host:port`.
 *
 * @throws USAGE
 */
export function parseBackend(target: string | number | undefined): Backend {
  if (target === undefined) {
    throw SeaportError.USAGE('what is to be served? Give the port of the backend, or its host:port')
  }
  const [, host, digits] = /^(?:\[?([^\s[\]/]+)\]?:)?(\d{1,5})$/.exec(String(target).trim()) ?? []
  const port = Number(digits)
  if (!(port >= 1 && port <= 65535)) {
    throw SeaportError.USAGE(
      `a backend is a port from 1 to 65535, or host:port, as in 10.0.0.2:5984, not ${JSON.stringify(target)}`
    )
  }
  if (host === undefined) return localBackend(port)
  return host === LOCALHOST ? { host, port, otherwise: LOOPBACK_6 } : { host, port }
}

/**
 * Connects to a backend.
 *
 * @throws BACKEND_UNREACHABLE, or the signal's reason
 */
export function connectBackend(
  { otherwise, ...backend }: Backend,
  options: ConnectBackendOptions = {}
): Promise<Socket> {
  const first = connectTo(backend, options)
  if (otherwise === undefined) return first
  return first.catch((error) => {
    if (!isRefusal(error)) throw error
    return connectTo({ host: otherwise, port: backend.port }, options).catch((second) => {
      throw second instanceof SeaportError ? error : second
    })
  })
}

function connectTo(
  { host, port }: Backend,
  { timeout = CONNECT_TIMEOUT_MS, signal }: ConnectBackendOptions
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const socket = tcpSocket()
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.connect({ host, port })
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onabort)
      socket.off('connect', onconnect)
      socket.off('error', onerror)
    }
    const fail = (error: unknown) => {
      settle()
      // Another error may follow while it closes.
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const onconnect = () => {
      settle()
      resolve(socket)
    }
    const onerror = (cause: NodeJS.ErrnoException) => fail(unreachable({ host, port }, cause))
    const onabort = () => fail(signal?.reason)
    const timer = setTimeout(
      () =>
        fail(
          SeaportError.BACKEND_UNREACHABLE(
            `${host}:${port} did not answer within ${timeout} ms; is it behind a firewall?`
          )
        ),
      timeout
    )
    signal?.addEventListener('abort', onabort)
    socket.on('connect', onconnect)
    socket.on('error', onerror)
  })
}

/** Whether an error says that nothing listens there. */
function isRefusal(error: unknown): boolean {
  const { cause } = error as { cause?: NodeJS.ErrnoException }
  return cause?.code === 'ECONNREFUSED'
}

function unreachable({ host, port }: Backend, cause: NodeJS.ErrnoException): SeaportError {
  const at = `${host}:${port}`
  switch (cause.code) {
    case 'ECONNREFUSED':
      return SeaportError.BACKEND_UNREACHABLE(
        `nothing listens on ${at}; start the backend, or check its port`,
        cause
      )
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return SeaportError.BACKEND_UNREACHABLE(
        `the name ${host} cannot be resolved; check its spelling`,
        cause
      )
    case 'EMFILE':
    case 'ENFILE':
      return SeaportError.BACKEND_UNREACHABLE(
        `no file descriptor left for ${at}; raise the limit (ulimit -n)`,
        cause
      )
    default:
      return SeaportError.BACKEND_UNREACHABLE(
        `${at} cannot be reached (${cause.code ?? cause.message})`,
        cause
      )
  }
}
