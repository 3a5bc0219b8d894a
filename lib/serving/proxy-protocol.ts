import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'

/** The versions of the protocol that are spoken. */
export const PROXY_PROTOCOLS = ['v2'] as const
export type ProxyProtocol = (typeof PROXY_PROTOCOLS)[number]

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n')
const VERSION = 0x20
/** The command LOCAL: the proxy connects for itself, as for a health check. */
const LOCAL = VERSION | 0x00
const PROXIED = VERSION | 0x01
const TCP_OVER_IPV6 = 0x21
const ADDRESSES_BYTES = 36
/** The type of the field with the consumer's key: the first type that is free for applications. */
const KEY_TYPE = 0xe0
const TYPE_AND_LENGTH_BYTES = 3
/** The prefix of unique local addresses (RFC 4193). */
const UNIQUE_LOCAL = 0xfd
const MAX_PORT = 65535

/** The header of a connection that no consumer has asked for. */
export const LOCAL_HEADER = Buffer.concat([SIGNATURE, Buffer.from([LOCAL, 0, 0, 0])])

/**
 * Reads a version of the protocol, as an option names it.
 *
 * @throws USAGE
 */
export function parseProxyProtocol(text: string): ProxyProtocol {
  const known = PROXY_PROTOCOLS.find((version) => version === text)
  if (known !== undefined) return known
  throw SeaportError.USAGE(
    `the proxy protocol is ${PROXY_PROTOCOLS.join(' or ')}, not ${JSON.stringify(text)}`
  )
}

/**
 * The IPv6 address that stands for a key: `fd` and the key's first 15 bytes. Compare whole addresses only: whoever
 * makes keys can choose how they begin, so a prefix says nothing.
 */
export function addressOf(publicKey: Buffer): Buffer {
  return Buffer.concat([Buffer.from([UNIQUE_LOCAL]), publicKey.subarray(0, 15)])
}

export interface Ends {
  client: { publicKey: Buffer; port: number }
  service: { publicKey: Buffer; port: number }
}

/**
 * Version 2 of the PROXY protocol (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt): both addresses, and the
 * consumer's whole key in hex.
 */
export function proxyHeader({ client, service }: Ends): Buffer {
  const key = Buffer.from(toHex(client.publicKey))
  const fixed = Buffer.alloc(4)
  fixed.writeUInt8(PROXIED, 0)
  fixed.writeUInt8(TCP_OVER_IPV6, 1)
  fixed.writeUInt16BE(ADDRESSES_BYTES + TYPE_AND_LENGTH_BYTES + key.length, 2)
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(client.port, 0)
  ports.writeUInt16BE(service.port, 2)
  const keyHead = Buffer.alloc(TYPE_AND_LENGTH_BYTES)
  keyHead.writeUInt8(KEY_TYPE, 0)
  keyHead.writeUInt16BE(key.length, 1)
  const addresses = [addressOf(client.publicKey), addressOf(service.publicKey)]
  return Buffer.concat([SIGNATURE, fixed, ...addresses, ports, keyHead, key])
}

export interface Introduction {
  signal?: Signal
  /** The key of the consumer whose stream it is for. Default: none, as the service connects for itself. */
  client?: Buffer
}

export type Connect = (options?: Introduction) => Promise<Duplex>

/** Connects to a backend, and tells it by the PROXY protocol who the consumer is. */
export class Introducer {
  readonly #connect: (options: { signal?: Signal }) => Promise<Duplex>
  readonly #servicePublicKey: () => Buffer
  /**
   * The source port that the last header named. Each stream has another one, so that a backend's log tells them apart.
   */
  #port = 0

  constructor(
    connect: (options: { signal?: Signal }) => Promise<Duplex>,
    servicePublicKey: () => Buffer
  ) {
    this.#connect = connect
    this.#servicePublicKey = servicePublicKey
  }

  /** @throws BACKEND_UNREACHABLE, or the signal's reason */
  async connect({ client, ...options }: Introduction = {}): Promise<Duplex> {
    const stream = await this.#connect(options)
    stream.write(client === undefined ? LOCAL_HEADER : this.#headerFor(client, stream))
    return stream
  }

  #headerFor(publicKey: Buffer, stream: Duplex): Buffer {
    this.#port = (this.#port % MAX_PORT) + 1
    const { remotePort = 0 } = stream as { remotePort?: number }
    return proxyHeader({
      client: { publicKey, port: this.#port },
      service: { publicKey: this.#servicePublicKey(), port: remotePort }
    })
  }
}

/**
 * The function that connects to a backend. With a version of the protocol it tells the backend who comes.
 *
 * @param serviceKey of the service; null if its backend is in this process
 * @throws USAGE
 */
export function introduced(
  connect: Connect,
  serviceKey: (() => Buffer) | null,
  version: string | undefined
): Connect {
  if (version === undefined) return connect
  parseProxyProtocol(version)
  if (!serviceKey) {
    throw SeaportError.USAGE('the proxy protocol is for a backend that is connected to')
  }
  const introducer = new Introducer(connect, serviceKey)
  return (options) => introducer.connect(options)
}
