import type { BeeBatch, BeeBlock, BeeTreeNode, Hyperbee } from './hypercore.js'

/** What becomes of one place: a value, or null for none any more. */
export type Change<V> = [place: string, value: V | null]

/**
 * Writes to a Hyperbee whose only writer we are. Hyperbee forgets its tree after each batch and reads it
 * anew from the disk, several blocks for each put; here one batch is used again and again, and begins with
 * the tree that it ended with.
 */
export class BeeWriter<V> {
  readonly #bee: Hyperbee<V>
  #batch: BeeBatch<V> | null = null

  constructor(bee: Hyperbee<V>) {
    this.#bee = bee
  }

  /** All or nothing. Resolves once it would survive a crash of this process. */
  async write(changes: readonly Change<V>[]) {
    const batch = this.#take()
    try {
      for (const [place, value] of changes) {
        if (value === null) await batch.del(keyOf(place))
        else await batch.put(keyOf(place), value)
      }
      const written = [...batch.blocks.values()]
      const root = lastOf(batch)
      await batch.flush()
      for (const block of written) forgetValue(block)
      if (root) this.#keep(batch, root)
    } catch (error) {
      await batch.close()
      throw error
    }
  }

  /** The blocks that the newest version is made of. Not while something is written. */
  async linked(): Promise<Set<number>> {
    const linked = new Set([0])
    const batch = this.#take()
    const root = await batch.getRoot()
    const visit = async (node: BeeTreeNode) => {
      for (const { seq } of node.keys) linked.add(seq)
      for (const [i, { seq }] of node.children.entries()) {
        linked.add(seq)
        await visit(await node.getChildNode(i))
      }
    }
    if (root) {
      linked.add(root.block.seq)
      await visit(root)
      this.#keep(batch, root.block)
    }
    return linked
  }

  #take(): BeeBatch<V> {
    const batch = this.#batch ?? this.#bee.batch({ keyEncoding: 'binary' })
    this.#batch = null
    return batch
  }

  /** The root as it is in memory, with all that was ever visited below it. */
  #keep(batch: BeeBatch<V>, root: BeeBlock) {
    batch.blocks.set(root.seq, root)
    batch.appending = null
    this.#batch = batch
  }
}

/** The block that holds the root. */
function lastOf<V>({ blocks, core, length }: BeeBatch<V>): BeeBlock | undefined {
  return blocks.get(core.length + length - 1)
}

/** The tree has no use for it, and would keep it as long as the block is in it. */
function forgetValue(block: BeeBlock) {
  block.value = null
  block.entry.value = null
}

/** The tree keeps them all. In Node's pool, each would keep 8 KiB of what passed by with it. */
function keyOf(place: string): Buffer {
  const key = Buffer.allocUnsafeSlow(Buffer.byteLength(place))
  key.write(place)
  return key
}
