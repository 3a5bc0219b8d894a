/**
 * The holepunch stack, typed for what we call and no more. The packages ship without types and as
 * CommonJS; every other file takes them from here, or those of storage from `registry/hypercore.ts`.
 */
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Duplex } from 'node:stream'

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
  uint64: Encoding<number>
  buffer: Encoding<Buffer>
  raw: Encoding<Buffer>
  string: Encoding<string>
  bool: Encoding<boolean>
  none: Encoding<undefined>
  fixed32: Encoding<Buffer>
  fixed64: Encoding<Buffer>
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
}

export const crypto = require('hypercore-crypto') as HypercoreCrypto

export const z32 = require('z32') as {
  encode(b: Uint8Array): string
  decode(s: string): Uint8Array
}

// lifecycle

export interface ReadyResource extends EventEmitter {
  readonly opening: Promise<void> | null
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
  // What UDX measures; a TCP socket does not tell.
  /** In ms. */
  readonly rtt?: number
  /** What was sent and did not arrive yet, as far as is known, in bytes. */
  readonly inflight?: number
  /** In bytes per second. */
  readonly bbrBandwidth?: number
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
  /** Messages written and not yet handed on. Not documented. */
  readonly _writableState: { readonly queue: { readonly length: number } }
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
  fullyOpened(): Promise<boolean>
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
  unpair(options: { protocol: string; id?: Buffer | null }): void
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
  readonly online: boolean
  readonly host: string | null
  readonly port: number
  /** The nodes that answered of late. */
  readonly nodes: { readonly length: number }
  readonly listening: Iterable<DHTServer>
  readonly stats: { readonly requests: { readonly responses: number } }
  /** Whether others have to punch holes. Both say so. */
  firewalled: boolean
  readonly io: { firewalled: boolean }
  /** Where keys were found before, by key in hex. Not documented. */
  readonly _relayAddressesCache: { delete(key: string): void }
  /** What all of its packets leave from, and come to. */
  readonly socket: UdxSocket
  createRawStream(options: { framed: boolean }): LooseRawStream
  address(): { host: string; port: number; family: number }
  bind(): Promise<void>
  fullyBootstrapped(): Promise<void>
  /** Looks for nodes, from those that are known or else the bootstrap nodes on. */
  refresh(): void
  connect(
    key: Buffer,
    options?: { keyPair?: KeyPairLike; relayAddresses?: Address[]; localConnection?: boolean }
  ): SecretStream
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

export interface HyperDHTOptions {
  bootstrap?: Address[]
  host?: string
  port?: number
  ephemeral?: boolean
  firewalled?: boolean
}

export const HyperDHT = require('hyperdht') as {
  new (options?: HyperDHTOptions): HyperDHT
  bootstrapper(port: number, host: string, options?: HyperDHTOptions): HyperDHT
}

export interface PeerInfo {
  readonly publicKey: Buffer
  readonly topics: Buffer[]
  reconnect(reconnect: boolean): void
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
  /** Every connection, those still being made included, by key. Not documented. */
  readonly _allConnections: Iterable<SecretStream> & { get(key: Buffer): SecretStream | undefined }
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
