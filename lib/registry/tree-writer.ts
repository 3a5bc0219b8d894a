import type { BeeBatch, BeeBlock, Hyperbee } from '../holepunch.js'

/** What becomes of one place: a value, or null for none any more. */
export type Change<V> = [place: string, value: V | null]

/**
 * Writes to a Hyperbee whose only writer we are. Hyperbee forgets its tree after each batch and reads it
 * anew from the disk, several blocks for each put; here one batch is used again and again, and begins with
 * the tree that it ended with.
 */
export class TreeWriter<V> {
  readonly #bee: Hyperbee<V>
  #batch: BeeBatch<V> | null = null

  constructor(bee: Hyperbee<V>) {
    this.#bee = bee
  }

  /** All or nothing. Resolves once it would survive a crash of this process. */
  async write(changes: readonly Change<V>[]) {
    const batch = this.#batch ?? this.#bee.batch()
    this.#batch = null
    try {
      for (const [place, value] of changes) {
        if (value === null) await batch.del(place)
        else await batch.put(place, value)
      }
      const root = lastOf(batch)
      await batch.flush()
      if (!root) return
      batch.blocks.set(root.seq, root)
      batch.appending = null
      this.#batch = batch
    } catch (error) {
      await batch.close()
      throw error
    }
  }
}

/** The block that holds the root, as it is in memory: with all that was ever visited below it. */
function lastOf<V>({ blocks, core, length }: BeeBatch<V>): BeeBlock | undefined {
  return blocks.get(core.length + length - 1)
}
