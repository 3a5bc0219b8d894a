import { type Hypercore, merkleTreeOf } from './hypercore.js'

/** Blocks, from the first to before the last. */
export type Gap = [start: number, end: number]

/**
 * Takes blocks off the disk, and those nodes of the Merkle tree which only they need. Hypercore leaves
 * most of the nodes of a range that it clears, two for each block: more than all else where everything is
 * overwritten. Of the nodes above its first block it takes some that the blocks before it are proven with.
 *
 * @param within blocks around them that are cleared, too
 */
export async function prune(core: Hypercore, gap: Gap, within: Gap = gap) {
  const [start, end] = gap
  if (start >= end) return
  const tree = merkleTreeOf(core)
  const above = await tree?.read(nodesAbove(start, core.length))
  await core.clear(start, end)
  if (above) await tree?.write(above, nodesBelow(gap, within))
}

/**
 * The nodes whose parents have nothing but cleared blocks below them: who proves another block needs
 * such a parent, and nothing of what it was made of. Numbered as in a flat tree.
 */
export function* nodesBelow([start, end]: Gap, [from, to]: Gap): Generator<number> {
  for (let width = 2; width <= to - from; width *= 2) {
    for (let i = Math.floor(start / width) * width; i < end; i += width) {
      if (i < from || i + width > to) continue
      yield 2 * i + width / 2 - 1
      yield 2 * i + (3 * width) / 2 - 1
    }
  }
}

/** The nodes that prove a block, and those that it proves others with. */
function* nodesAbove(block: number, length: number): Generator<number> {
  for (let width = 1; width <= length; width *= 2) {
    const i = Math.floor(block / width) * width
    const sibling = (i / width) % 2 === 0 ? i + width : i - width
    for (const at of [i, sibling]) yield 2 * at + width - 1
  }
}
