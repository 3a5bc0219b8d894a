/** Storage of the holepunch stack, typed as `holepunch.ts` types the rest. */
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Readable } from 'node:stream'
import type { KeyPairLike, Protomux, SecretStream } from '../../core/holepunch.js'

const require = createRequire(import.meta.url)

/** Of a Merkle tree. */
export interface TreeNode {
  readonly index: number
}

/** Another who has a core, on one connection. Not documented. */
export interface CorePeer {
  readonly protomux: Protomux
  readonly remotePublicKey: Buffer
  readonly channel: { close(): void }
}

export interface Hypercore extends EventEmitter {
  readonly key: Buffer
  readonly discoveryKey: Buffer
  readonly length: number
  readonly fork: number
  readonly opened: boolean
  readonly closed: boolean
  readonly closing: Promise<void> | null
  readonly peers: readonly CorePeer[]
  ready(): Promise<void>
  close(): Promise<void>
  replicate(mux: Protomux): unknown
  update(options?: { wait?: boolean }): Promise<boolean>
  get(index: number, options?: { wait?: boolean; timeout?: number }): Promise<Buffer | null>
  append(block: Buffer): Promise<unknown>
  /** Takes blocks off the disk; the core stays as long as it was. */
  clear(start: number, end: number): Promise<unknown>
  /** What all sessions share, while it is open. */
  readonly core: OpenCore
  /** Of what is on disk. Not documented; the storage is, in hypercore-storage. */
  readonly state: {
    readonly storage: {
      read(): { getTreeNode(index: number): Promise<TreeNode | null>; tryFlush(): void }
      write(): {
        putTreeNode(node: TreeNode): void
        deleteTreeNode(index: number): void
        flush(): Promise<unknown>
      }
    }
  }
  download(range?: { start?: number; end?: number; linear?: boolean }): { destroy(): void }
}

/** What all sessions of a core share. Not documented. */
export interface OpenCore {
  readonly replicator: { detachFrom(mux: Protomux): void }
  /** Null until it is open. Its mutex, once destroyed, still serves those that wait for it. */
  readonly state: { readonly mutex: { destroy(): Promise<void> } } | null
  close(): Promise<void>
}

export interface Corestore {
  ready(): Promise<void>
  close(): Promise<void>
  get(
    options:
      | { name: string }
      | { keyPair: KeyPairLike }
      | { key: Buffer; inflightRange?: [number, number]; overwrite?: boolean }
  ): Hypercore
  createKeyPair(name: string): Promise<KeyPairLike>
  /** One that is not active opens no channels to copy its cores by itself. */
  session(options: { active: boolean }): Corestore
  replicate(stream: SecretStream | Protomux): unknown
  readonly storage: { compact(): Promise<unknown> }
  /** Those that are open. Not documented. */
  readonly cores: Iterable<OpenCore>
}

export const Corestore = require('corestore') as {
  new (dir: string, options?: { wait?: boolean; readOnly?: boolean }): Corestore
}

export interface BeeEntry<V> {
  seq: number
  key: string
  value: V
}

/** A block with the part of the tree that it holds. Not documented. */
export interface BeeBlock {
  readonly seq: number
  value: Buffer | null
  readonly entry: { value: Buffer | null }
}

/** Its keys and children stand in blocks of their own. Not documented. */
export interface BeeTreeNode {
  readonly block: BeeBlock
  readonly keys: readonly { readonly seq: number }[]
  readonly children: readonly { readonly seq: number }[]
  getChildNode(index: number): Promise<BeeTreeNode>
}

export interface BeeBatch<V> {
  readonly core: Hypercore
  /** Blocks to be appended. */
  readonly length: number
  /** Those and others, by their place in the core. Not documented. */
  readonly blocks: Map<number, BeeBlock>
  /** Set by flush. Not documented. */
  appending: unknown
  /** Not documented. */
  getRoot(): Promise<BeeTreeNode | null>
  put(key: string | Buffer, value: V): Promise<void>
  del(key: string | Buffer): Promise<void>
  flush(): Promise<void>
  close(): Promise<void>
}

export interface Hyperbee<V> {
  readonly version: number
  readonly core: Hypercore
  ready(): Promise<void>
  close(): Promise<void>
  get(key: string): Promise<BeeEntry<V> | null>
  batch(options?: { keyEncoding: 'binary' }): BeeBatch<V>
  createReadStream(
    range?: object,
    options?: { timeout: number }
  ): AsyncIterable<BeeEntry<V>> & Readable
}

/** What a block of a bee holds; no value if it takes a key out. Not documented. */
export const beeNode = require('hyperbee/lib/messages').Node as {
  decode(block: Buffer): { key: Buffer; value: Buffer | null }
}

export const Hyperbee = require('hyperbee') as {
  new <V>(
    core: Hypercore,
    options: {
      keyEncoding: 'utf-8'
      valueEncoding: 'json' | 'utf-8' | 'binary'
      extension?: boolean
      autoUpdate?: boolean
    }
  ): Hyperbee<V>
}
