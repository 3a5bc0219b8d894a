import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, isIPv6, type Server } from 'node:net'
import { SeaportError } from './errors.js'

export const LOOPBACK = '127.0.0.1'
export const LOOPBACK_6 = '::1'
const ANY = '0.0.0.0'
const ANY_6 = '::'
/** UDP port of the first node of a private DHT, unless it is told another; those that follow are for the next nodes. */
export const BOOTSTRAP_PORT = 49737
/**
 * Where all other nodes take the first UDP port that is free, or any if none is. HyperDHT would try those of
 * `bootstrap` first, which could then not be started on a machine on which anything else runs.
 */
export const NODE_PORTS: [from: number, before: number] = [49747, 49811]
/**
 * A TCP connection that is idle for so many ms is asked by the kernel whether the other machine is still there. One
 * that vanished without a word, as at a power cut, would be kept for ever.
 */
export const KEEP_ALIVE_MS = 15_000

/** An address to listen on. One of IPv6 may be written as in a URL, `[::1]`. */
export function bareAddress(text: string): string {
  return text.replace(/^\[(.*)\]$/, '$1')
}

/** How a URL names an address that is listened on, for who is on this machine. */
export function hostInUrl(address: string): string {
  const host = address === ANY ? LOOPBACK : address === ANY_6 ? LOOPBACK_6 : address
  return isIPv6(host) ? `[${host}]` : host
}

export interface ListenOptions {
  /** 0 for a free one. */
  port: number
  host: string
  /** Connections that wait to be taken, at most. Default: as many as Node allows, 511. */
  backlog?: number
  /** What it is called in errors. Default: `port 80 on 127.0.0.1`. */
  name?: string
}

/**
 * Has a server listen by TCP.
 *
 * @returns the port
 * @throws PORT_IN_USE, LISTEN_FAILED
 */
export async function listen(
  server: Server,
  { port, host, backlog, name = `port ${port} on ${host}` }: ListenOptions
): Promise<number> {
  try {
    server.listen({ port, host, ...(backlog !== undefined && { backlog }) })
    await once(server, 'listening')
  } catch (cause) {
    throw listenError(cause, name)
  }
  return (server.address() as AddressInfo).port
}

/**
 * Finds out whether a TCP port can be listened on, and leaves it free. Another program may still be quicker.
 *
 * @returns the port
 * @throws PORT_IN_USE, LISTEN_FAILED
 */
export async function probeTcpPort(port: number, host: string): Promise<number> {
  const server = createServer()
  const found = await listen(server, { port, host })
  server.close()
  await once(server, 'close')
  return found
}

/**
 * Finds out whether a UDP port can be bound, and leaves it free. HyperDHT takes another port when its own is
 * taken, and where none can be bound leaves handles behind.
 *
 * @param port 0 for any
 * @returns the port
 * @throws PORT_IN_USE, LISTEN_FAILED
 */
export async function probeUdpPort(port: number, host: string): Promise<number> {
  const socket = createSocket('udp4')
  try {
    socket.bind(port, host)
    await once(socket, 'listening')
    return socket.address().port
  } catch (cause) {
    throw listenError(cause, `UDP port ${port} on ${host}`)
  } finally {
    socket.close()
  }
}

/**
 * Turns a failed bind or listen into a coded error.
 *
 * @param what what was to be bound, as in `port 80 on 127.0.0.1`
 */
export function listenError(cause: unknown, what: string): SeaportError {
  const code = (cause as NodeJS.ErrnoException | null)?.code
  if (code === 'EADDRINUSE')
    return SeaportError.PORT_IN_USE(`${what} is in use, choose another one`, cause)
  if (code === 'EACCES') {
    return SeaportError.LISTEN_FAILED(
      `${what} may not be opened by this user, try one above 1024`,
      cause
    )
  }
  if (code === 'EADDRNOTAVAIL') {
    return SeaportError.LISTEN_FAILED(
      `${what} cannot be opened, this machine does not have that address`,
      cause
    )
  }
  return SeaportError.LISTEN_FAILED(
    `${what} cannot be opened (${code ?? (cause as Error)?.message})`,
    cause
  )
}
