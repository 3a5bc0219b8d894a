import {
  type BeeBatch,
  type BeeRoot,
  beginAgain,
  type Hyperbee,
  linkedBlocks,
  treeOf
} from './hypercore.js'

/** A new value for one place; null removes the place. */
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

  /** Writes all changes or none. Resolves once they would survive a crash of this process. */
  async write(changes: readonly Change<V>[]) {
    const batch = this.#take()
    try {
      for (const [place, value] of changes) {
        if (value === null) await batch.del(keyOf(place))
        else await batch.put(keyOf(place), value)
      }
      const tree = treeOf(batch)
      await batch.flush()
      tree?.forgetValues()
      if (tree?.root) this.#keep(batch, tree.root)
    } catch (error) {
      await batch.close()
      throw error
    }
  }

  /**
   * The blocks that the newest version is made of; null if that cannot be known. Not while something is written.
   */
  async linked(): Promise<Set<number> | null> {
    const batch = this.#take()
    const found = await linkedBlocks(batch)
    if (found?.root) this.#keep(batch, found.root)
    return found?.linked ?? null
  }

  #take(): BeeBatch<V> {
    const batch = this.#batch ?? this.#bee.batch({ keyEncoding: 'binary' })
    this.#batch = null
    return batch
  }

  #keep(batch: BeeBatch<V>, root: BeeRoot) {
    beginAgain(batch, root)
    this.#batch = batch
  }
}

/** The tree keeps them all. In Node's pool, each would keep 8 KiB of what passed by with it. */
function keyOf(place: string): Buffer {
  const key = Buffer.allocUnsafeSlow(Buffer.byteLength(place))
  key.write(place)
  return key
}
