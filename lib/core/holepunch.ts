/**
 * The holepunch stack, typed for what we call and no more. The packages ship without types and as
 * CommonJS; every other file takes them from here, or those of storage from `registry/log/hypercore.ts`.
 *
 * What the packages do not promise is used by the functions at the end of this file and nowhere else. Each has a
 * way to be without it, and a line in test/stack.test.ts; docs/internals/stack.md lists them.
 */
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Duplex } from 'node:stream'
import { SeaportError } from './errors.js'

const require = createRequire(import.meta.url)

export interface KeyPairLike {
  publicKey: Buffer
  secretKey: Buffer
}

export interface Address {
  host: string
  port: number
}

// compact-encoding

export interface State {
  start: number
  end: number
  buffer: Buffer
}

export interface Encoding<T> {
  preencode(state: State, value: T): void
  encode(state: State, value: T): void
  decode(state: State): T
}

interface CompactEncoding {
  uint: Encoding<number>
  raw: Encoding<Buffer>
  string: Encoding<string>
  bool: Encoding<boolean>
  none: Encoding<undefined>
  fixed32: Encoding<Buffer>
  encode<T>(encoding: Encoding<T>, value: T): Buffer
  decode<T>(encoding: Encoding<T>, buffer: Uint8Array): T
}

export const c = require('compact-encoding') as CompactEncoding

// crypto

interface HypercoreCrypto {
  keyPair(seed?: Buffer): KeyPairLike
  sign(message: Uint8Array, secretKey: Buffer): Buffer
  verify(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean
  hash(data: Uint8Array | Uint8Array[]): Buffer
  randomBytes(n: number): Buffer
  /** So many fixed prefixes under a name, for what is signed. */
  namespace(name: string, count: number): Buffer[]
  /** The hash over the roots of a Merkle tree. */
  tree(roots: readonly { hash: Buffer; index: number; size: number }[]): Buffer
}

export const crypto = require('hypercore-crypto') as HypercoreCrypto

export const sodium = require('sodium-universal') as {
  crypto_core_ed25519_is_valid_point(point: Buffer): boolean
}

export const z32 = require('z32') as {
  encode(b: Uint8Array): string
  decode(s: string): Uint8Array
}

// lifecycle

export interface ReadyResource extends EventEmitter {
  readonly closing: Promise<void> | null
  readonly opened: boolean
  readonly closed: boolean
  ready(): Promise<void>
  close(): Promise<void>
  /** For subclasses: runs once, on the first `ready()`. */
  _open(): Promise<void>
  /** For subclasses: runs once, on the first `close()`, after opening is done. */
  _close(): Promise<void>
}

export const ReadyResource = require('ready-resource') as { new (): ReadyResource }

// streams and connections

export interface RawStream extends EventEmitter {
  readonly connected: boolean
  readonly remoteHost: string
  readonly remotePort: number
  resume(): void
  // What UDX measures; a TCP socket does not tell.
  /** In ms. */
  readonly rtt?: number
}

/** A UDX stream that one connects by hand. */
export interface LooseRawStream extends RawStream {
  readonly id: number
  connect(socket: UdxSocket, remoteId: number, port: number, host: string): void
  write(data: Uint8Array): boolean
  destroy(): void
}

export interface UdxSocket {
  address(): { host: string; port: number }
}

/** An encrypted connection: a streamx Duplex of whole messages. */
export interface SecretStream extends EventEmitter {
  readonly isInitiator: boolean
  readonly publicKey: Buffer
  readonly remotePublicKey: Buffer
  readonly handshakeHash: Buffer
  readonly rawStream: RawStream
  readonly rawBytesRead: number
  readonly rawBytesWritten: number
  readonly opened: Promise<boolean>
  readonly connected: boolean
  readonly destroying: boolean
  readonly destroyed: boolean
  userData: unknown
  write(data: Uint8Array): boolean
  end(): void
  pause(): void
  resume(): void
  destroy(error?: Error): void
  setKeepAlive(ms: number): void
  setTimeout(ms: number): void
  sendKeepAlive(): void
  /** Resolves once the other side has all that was written, or at once if this cannot be known. */
  flush(): Promise<boolean>
}

interface SecretStreamOptions {
  pattern?: 'XX' | 'IK'
  keyPair?: KeyPairLike
  remotePublicKey?: Buffer
  keepAlive?: number
  autoStart?: boolean
}

export const SecretStream = require('@hyperswarm/secret-stream') as {
  new (isInitiator: boolean, raw?: Duplex | unknown, options?: SecretStreamOptions): SecretStream
}

// protomux

export interface MuxMessage<T> {
  send(value: T): boolean
}

export interface MuxChannel {
  readonly opened: boolean
  readonly closed: boolean
  readonly destroyed: boolean
  readonly drained: boolean
  readonly messages: MuxMessage<never>[]
  open(handshake?: unknown): void
  close(): void
  cork(): void
  uncork(): void
  addMessage<T>(options: {
    encoding: Encoding<T>
    onmessage?: (value: T) => void | Promise<void>
    autoBatch?: boolean
  }): MuxMessage<T>
}

export interface ChannelOptions<H> {
  protocol: string
  id?: Buffer | null
  unique?: boolean
  handshake?: Encoding<H> | null
  messages?: { onmessage?: (message: unknown, channel: object) => unknown }[]
  onopen?: (handshake: H) => void | Promise<void>
  onclose?: (isRemote: boolean) => void
  ondestroy?: () => void
  ondrain?: () => void
}

export interface Protomux {
  readonly stream: SecretStream
  readonly drained: boolean
  cork(): void
  uncork(): void
  createChannel<H = undefined>(options: ChannelOptions<H>): MuxChannel | null
  pair(
    options: { protocol: string; id?: Buffer | null },
    notify: (id: Buffer | null) => void | Promise<void>
  ): void
  destroy(error?: Error): void
}

export const Protomux = require('protomux') as {
  new (stream: SecretStream): Protomux
  from(stream: SecretStream): Protomux
}

// DHT and swarm

export interface DHTServer extends EventEmitter {
  readonly publicKey: Buffer | null
  listen(keyPair: KeyPairLike): Promise<DHTServer>
  address(): { publicKey: Buffer; host: string; port: number } | null
  refresh(): void
  close(): Promise<void>
}

export interface HyperDHT extends EventEmitter {
  readonly destroyed: boolean
  readonly host: string | null
  readonly port: number
  /** The nodes that answered of late. */
  readonly nodes: { readonly length: number }
  readonly listening: Iterable<DHTServer>
  readonly stats: { readonly requests: { readonly responses: number } }
  /** Whether others have to punch holes. Both say so. */
  firewalled: boolean
  /** What all of its packets leave from, and come to. */
  readonly socket: UdxSocket
  /** Whom each question about a key goes to, beside the nodes that are known. */
  bootstrapNodes: Address[]
  /** Nodes that answered, the latest first. */
  toArray(options?: { limit?: number }): Address[]
  createRawStream(options: { framed: boolean }): LooseRawStream
  address(): { host: string; port: number; family: number }
  bind(): Promise<void>
  fullyBootstrapped(): Promise<void>
  /** Looks for nodes, from those that are known or else the bootstrap nodes on. */
  refresh(): void
  connect(key: Buffer, options?: ConnectOptions): SecretStream
  createServer(
    options: {
      firewall?: (remotePublicKey: Buffer, payload: unknown) => boolean
      handshakeClearWait?: number
    },
    onconnection?: (connection: SecretStream) => void
  ): DHTServer
  /** Asks a node; `to` is the address that it sees us under. */
  ping(node: Address, options?: { timeout?: number; retry?: boolean }): Promise<{ to: Address }>
  destroy(options?: { force?: boolean }): Promise<void>
}

export interface ConnectOptions {
  keyPair?: KeyPairLike
  relayAddresses?: Address[]
  localConnection?: boolean
  /** The key of a relay to go by until a hole is punched. */
  relayThrough?: Buffer
  /** Asked before holes are punched, whether to. Each side is as HyperDHT's FIREWALL numbers it. */
  holepunch?: (remote: number, local: number) => boolean
}

export interface HyperDHTOptions {
  bootstrap?: Address[]
  host?: string
  /** UDP port; of two, the first that is free from the one up to before the other. Where none is, it takes any. */
  port?: number | [from: number, before: number]
  ephemeral?: boolean
  firewalled?: boolean
  /** How long to wait between two punches at random ports, in ms. */
  randomPunchInterval?: number
}

export const HyperDHT = require('hyperdht') as {
  new (options?: HyperDHTOptions): HyperDHT
  bootstrapper(port: number, host: string, options?: HyperDHTOptions): HyperDHT
}

export interface PeerInfo {
  readonly publicKey: Buffer
  readonly topics: Buffer[]
}

export interface PeerDiscovery {
  flushed(): Promise<boolean>
  refresh(options?: { limit?: number }): Promise<boolean>
  destroy(): Promise<void>
}

export interface Hyperswarm extends EventEmitter {
  readonly keyPair: KeyPairLike
  readonly connections: Set<SecretStream>
  readonly destroyed: boolean
  /** Outgoing connections that are being made. */
  readonly connecting: number
  join(
    topic: Buffer,
    options: { server?: boolean; client?: boolean; limit?: number }
  ): PeerDiscovery
  joinPeer(key: Buffer): void
  leavePeer(key: Buffer): void
  flush(): Promise<boolean>
  destroy(options?: { force?: boolean }): Promise<void>
}

export const Hyperswarm = require('hyperswarm') as {
  new (options: {
    dht: HyperDHT
    keyPair?: KeyPairLike
    maxPeers?: number
    maxParallel?: number
    handshakeClearWait?: number
    backoffs?: number[]
    jitter?: number
    firewall?: (remotePublicKey: Buffer, payload: unknown) => boolean
  }): Hyperswarm
}

// What the packages do not promise

/** Members that may be gone with the next release. */
interface Unpromised {
  readonly _writableState?: { readonly queue?: { readonly length?: number } }
  readonly _len?: number
  readonly inflight?: number
  readonly bbrBandwidth?: number
  readonly _relayAddressesCache?: { delete?(key: string): void }
  readonly _allConnections?: Iterable<SecretStream> & {
    get?(key: Buffer): SecretStream | undefined
  }
}

/** @throws UNSUPPORTED_DEPENDENCY where a bound on memory would not hold: to be called before anything opens */
export function checkStack() {
  const probe = new SecretStream(true, null, { autoStart: false })
  const isBounded =
    Number.isInteger(waitingMessages(probe)) && Number.isInteger(announcedLength(probe))
  probe.on('error', () => {}).destroy()
  if (isBounded) return
  throw SeaportError.UNSUPPORTED_DEPENDENCY(
    'messages that wait cannot be counted, or those that come not measured: install @hyperswarm/secret-stream ' +
      '6.9.2 and the streamx that package-lock.json names'
  )
}

/**
 * How long the message is that is coming on a connection, as its sender announced it, in bytes; 0 between two
 * messages, NaN if that cannot be known.
 */
export function announcedLength(connection: SecretStream): number {
  return (connection as Unpromised)._len ?? Number.NaN
}

/** How many messages were written to a connection and not yet handed on; NaN if that cannot be known. */
export function waitingMessages(connection: SecretStream): number {
  return (connection as Unpromised)._writableState?.queue?.length ?? Number.NaN
}

/**
 * What UDX measures: what was sent and has not arrived, as far as is known, in bytes; and bytes per second, 0 if
 * they are not known yet. Null if the transport does not tell. TCP never does.
 */
export function paceOf({
  rawStream
}: SecretStream): { inflight: number; bandwidth: number } | null {
  const { inflight, bbrBandwidth } = (rawStream ?? {}) as Unpromised
  return inflight === undefined ? null : { inflight, bandwidth: bbrBandwidth ?? 0 }
}

/**
 * Makes a DHT node look a key up when it connects to it next. HyperDHT would first ask where it found the key before;
 * without this, a service that was restarted is reached some seconds later.
 *
 * @param key hex
 */
export function forgetAddresses(dht: HyperDHT, key: string) {
  ;(dht as Unpromised)._relayAddressesCache?.delete?.(key)
}

/** Every connection of a swarm, those still being made included; without its private list, the made ones only. */
export function allConnections(swarm: Hyperswarm): Iterable<SecretStream> {
  return (swarm as Unpromised)._allConnections ?? swarm.connections
}

/** The connection of a swarm to a key, made or being made; undefined without its private list. */
export function connectionTo(swarm: Hyperswarm, key: Buffer): SecretStream | undefined {
  return (swarm as Unpromised)._allConnections?.get?.(key)
}

/**
 * How Protomux and the codecs below it say that bytes make no sense. They have no codes. All other errors, such as
 * Hyperswarm's "Duplicate connection", are no offence of the other side, and so is one of these if it is reworded.
 */
const OFFENCES =
  /^(Out of bounds|Array is too big|Incorrect buffer size|Unknown (type|version|hash|signature)|uint must be|int must be|Invalid (open|reject) message|Remote exceeded backlog)/

/** Whether an error of a connection says that the other side broke the protocol. */
export function isMalformedFrame(error: Error & { code?: string }): boolean {
  return error.code === undefined && OFFENCES.test(error.message)
}
