/**
 * Storage of the holepunch stack, typed as `core/holepunch.ts` types the rest.
 *
 * What the packages do not promise is used by the functions at the end of this file and nowhere else. Each has a
 * way to be without it, and a line in test/stack.test.ts; docs/internals/stack.md lists them.
 */
import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Readable } from 'node:stream'
import { SeaportError } from '../../core/errors.js'
import { crypto, type KeyPairLike, type Protomux, type SecretStream } from '../../core/holepunch.js'

const require = createRequire(import.meta.url)

export interface Hypercore extends EventEmitter {
  readonly key: Buffer
  readonly discoveryKey: Buffer
  readonly length: number
  readonly fork: number
  readonly opened: boolean
  readonly closed: boolean
  readonly closing: Promise<void> | null
  ready(): Promise<void>
  close(): Promise<void>
  replicate(mux: Protomux): unknown
  update(options?: { wait?: boolean }): Promise<boolean>
  get(index: number, options?: { wait?: boolean; timeout?: number }): Promise<Buffer | null>
  append(block: Buffer): Promise<unknown>
  /** Takes blocks off the disk; the core stays as long as it was. */
  clear(start: number, end: number): Promise<unknown>
  download(range?: { start?: number; end?: number; linear?: boolean }): { destroy(): void }
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
}

export const Corestore = require('corestore') as {
  new (place: string | CoreStorage, options?: { wait?: boolean; readOnly?: boolean }): Corestore
}

/** What a store is kept in: files of RocksDB, or what stands in for RocksDB. */
export interface CoreStorage {
  readonly rocks?: object
}

export const { defaultStorage } = require('hypercore') as {
  defaultStorage(place: string | object, options: { writeBufferSize?: number }): CoreStorage
}

/** The streams of this stack, which storage reads from. */
export interface StreamxReadable {
  destroy(error?: Error): void
}

export const StreamxReadable = require('streamx').Readable as {
  from(values: readonly unknown[]): StreamxReadable
}

export interface BeeEntry<V> {
  seq: number
  key: string
  value: V
}

export interface BeeBatch<V> {
  readonly core: Hypercore
  /** Blocks to be appended. */
  readonly length: number
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

const Hypercore = require('hypercore') as {
  key(publicKey: Buffer): Buffer
  treeHashFromStorage?(core: Hypercore, length: number): Promise<Buffer>
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

// What the packages do not promise

interface TreeNode {
  readonly index: number
}

interface TreeReader {
  getTreeNode?(index: number): Promise<TreeNode | null>
  tryFlush?(): void
}

interface TreeWriter {
  putTreeNode(node: TreeNode): void
  deleteTreeNode(index: number): void
  flush(): Promise<unknown>
}

interface CorePeer {
  readonly protomux?: Protomux
  readonly remotePublicKey: Buffer
  readonly channel?: { close(): void }
}

/** What all sessions of a core share. Its mutex, once destroyed, still serves those that wait for it. */
interface OpenCore {
  readonly replicator?: { detachFrom?(mux: Protomux): void }
  readonly state?: { readonly mutex?: { destroy?(): Promise<void> } } | null
  close?(): Promise<void>
}

interface SignedTree {
  readonly fork: number
  readonly length: number
  readonly hash: Buffer
  readonly signature: Buffer
  readonly signer: Buffer
}

interface OpenHypercore {
  readonly manifest?: { readonly signers: readonly { readonly publicKey: Buffer }[] } | null
  readonly peers?: readonly CorePeer[]
  readonly core?: OpenCore
  readonly state?: {
    readonly storage?: { read(): TreeReader; write(): TreeWriter }
    readonly fork?: number
    readonly length?: number
    readonly roots?: readonly {
      readonly hash: Buffer
      readonly index: number
      readonly size: number
    }[]
    readonly signature?: Buffer | null
  }
}

/** A block of a bee, with the part of the tree that it holds. */
interface BeeBlock {
  readonly seq: number
  value: Buffer | null
  readonly entry: { value: Buffer | null }
}

/** Its keys and children stand in blocks of their own. */
interface BeeTreeNode {
  readonly block: BeeBlock
  readonly keys: readonly { readonly seq: number }[]
  readonly children: readonly { readonly seq: number }[]
  getChildNode(index: number): Promise<BeeTreeNode>
}

interface OpenBatch {
  /** Those to be appended and others, by their place in the core. */
  readonly blocks?: Map<number, BeeBlock>
  /** Set by flush. */
  appending?: unknown
  getRoot?(): Promise<BeeTreeNode | null>
}

/** So that others have their turns in between. */
const NODES_AT_ONCE = 4096

/** Nodes of the Merkle tree of a core, on its disk. Numbered as in a flat tree. */
export interface MerkleTree {
  /** Those that are there; null if nothing can be read. */
  read(indices: Iterable<number>): Promise<TreeNode[] | null>
  write(put: readonly TreeNode[], remove: Iterable<number>): Promise<void>
}

/** Null if its nodes cannot be had one by one: they stay on the disk then, two for each block. */
export function merkleTreeOf(core: Hypercore): MerkleTree | null {
  const storage = (core as OpenHypercore).state?.storage
  const writer = storage?.write?.()
  if (!storage?.read || !writer?.putTreeNode || !writer.deleteTreeNode) return null
  return {
    async read(indices) {
      const rx = storage.read()
      if (!rx.getTreeNode) return null
      const nodes = Array.from(indices, (index) => rx.getTreeNode?.(index) ?? null)
      rx.tryFlush?.()
      return (await Promise.all(nodes)).filter((node) => node !== null)
    },
    async write(put, remove) {
      let tx = storage.write()
      for (const node of put) tx.putTreeNode(node)
      let count = 0
      for (const index of remove) {
        tx.deleteTreeNode(index)
        if (++count % NODES_AT_ONCE !== 0) continue
        await tx.flush()
        tx = storage.write()
      }
      await tx.flush()
    }
  }
}

/** Where the signature of the one signer begins and ends in what Hypercore keeps: it counts signers, and has few. */
const SIGNATURE_AT = [2, 66] as const
/** What Hypercore signs begins with this. */
const [TREE] = crypto.namespace('hypercore', 1) as [Buffer]

/**
 * What the writer of a core signed last, as far as we have it. Null if there is no block, or if it cannot be had: others
 * are then shown no proof of how far we are, and wait for the registrar's own word.
 */
export function signedTreeOf(core: Hypercore): SignedTree | null {
  const { state, manifest } = core as OpenHypercore
  const { fork = 0, length = 0, roots, signature } = state ?? {}
  const [signer] = manifest?.signers ?? []
  if (length === 0 || !roots || !signature || !signer) return null
  if (signature.length < SIGNATURE_AT[1] || signature[0] !== 1 || signature[1] !== 0) return null
  const one = signature.subarray(...SIGNATURE_AT)
  return { fork, length, hash: crypto.tree(roots), signature: one, signer: signer.publicKey }
}

/** The hash of a core's tree at a length, from our own disk; null if that was cleared. */
export async function treeHashOf(core: Hypercore, length: number): Promise<Buffer | null> {
  try {
    return (await Hypercore.treeHashFromStorage?.(core, length)) ?? null
  } catch {
    return null
  }
}

/** The key of a core whose only writer has this public key. */
export function keyOfSigner(publicKey: Buffer): Buffer {
  return Hypercore.key(publicKey)
}

/** What the writer of a core signs of its tree. */
export function treeSignable(key: Buffer, hash: Buffer, length: number, fork: number): Buffer {
  const numbers = Buffer.alloc(16)
  numbers.writeBigUInt64LE(BigInt(length), 0)
  numbers.writeBigUInt64LE(BigInt(fork), 8)
  return Buffer.concat([TREE, key, hash, numbers])
}

/** Who gives and takes blocks of a core, and on which connection; nobody if that is not told. */
export function replicatingPeers(core: Hypercore): { mux: Protomux; key: Buffer }[] {
  return ((core as OpenHypercore).peers ?? []).flatMap(({ protomux, remotePublicKey }) =>
    protomux ? [{ mux: protomux, key: remotePublicKey }] : []
  )
}

/** The connection of whom `peer-remove` tells. */
export function connectionOf(peer: unknown): Protomux | undefined {
  return (peer as CorePeer).protomux
}

/**
 * Takes no blocks of a core from a peer any more. If the peer needs the core from us, it asks in its turn.
 *
 * @returns false if that is not possible: the peer then goes on giving, which costs traffic and nothing else
 */
export function stopReplicating(core: Hypercore, mux: Protomux): boolean {
  const { core: open, peers = [] } = core as OpenHypercore
  const channel = peers.find(({ protomux }) => protomux === mux)?.channel
  if (!channel || !open?.replicator?.detachFrom) return false
  open.replicator.detachFrom(mux)
  channel.close()
  return true
}

/**
 * Resolves when nothing is written any more to the cores of a store. To be awaited before it is closed: a block that
 * a peer sent is written although all sessions are gone, and Hypercore reads after that.
 */
export async function lastWrites(store: Corestore) {
  const { cores = [] } = store as { cores?: Iterable<OpenCore> }
  await Promise.all([...cores].map(lastWrite))
}

/** Closes a core with all its sessions, once nothing is written to it any more. */
export async function closeWholly(session: Hypercore) {
  const { core } = session as OpenHypercore
  await session.close()
  if (!core) return
  await lastWrite(core)
  await core.close?.()
}

async function lastWrite(core: OpenCore) {
  await core.state?.mutex?.destroy?.()
}

/** The root's block of a written batch, as it is in memory with all that was visited below it. */
export type BeeRoot = BeeBlock

/** To be called before a batch is flushed. */
export interface WrittenTree {
  readonly root: BeeRoot | undefined
  /** The tree has no use for values, and would keep each as long as its block is in it. To be called after. */
  forgetValues(): void
}

/** Null if a batch does not show its tree: the next batch then reads it from the disk. */
export function treeOf<V>(batch: BeeBatch<V>): WrittenTree | null {
  const { blocks } = batch as OpenBatch
  if (!(blocks instanceof Map)) return null
  const written = [...blocks.values()]
  return {
    root: blocks.get(batch.core.length + batch.length - 1),
    forgetValues() {
      for (const block of written) {
        block.value = null
        block.entry.value = null
      }
    }
  }
}

/** Makes a flushed batch one to write again, whose tree begins with this root. */
export function beginAgain<V>(batch: BeeBatch<V>, root: BeeRoot) {
  const open: OpenBatch = batch as OpenBatch
  open.blocks?.set(root.seq, root)
  open.appending = null
}

/** The blocks that a bee is made of, as a batch sees it. Null if that cannot be known: nothing may be cleared then. */
export async function linkedBlocks<V>(
  batch: BeeBatch<V>
): Promise<{ linked: Set<number>; root: BeeRoot | null } | null> {
  const open = batch as OpenBatch
  if (!open.getRoot || !(open.blocks instanceof Map)) return null
  const linked = new Set([0])
  const root = await open.getRoot()
  const visit = async (node: BeeTreeNode) => {
    for (const { seq } of node.keys) linked.add(seq)
    for (const [i, { seq }] of node.children.entries()) {
      linked.add(seq)
      await visit(await node.getChildNode(i))
    }
  }
  if (!root) return { linked, root: null }
  linked.add(root.block.seq)
  await visit(root)
  return { linked, root: root.block }
}

/** What a block of a bee holds; no value if it takes a key out. */
export const beeNode = loadBeeNode()

/** @throws UNSUPPORTED_DEPENDENCY */
function loadBeeNode(): { decode(block: Buffer): { key: Buffer; value: Buffer | null } } {
  try {
    const { Node } = require('hyperbee/lib/messages')
    if (typeof Node.decode === 'function') return Node
  } catch {
    // It is in another file now, which is as bad as gone.
  }
  throw SeaportError.UNSUPPORTED_DEPENDENCY(
    'the blocks of hyperbee cannot be read: install hyperbee 2.27.3, as package-lock.json names it'
  )
}
