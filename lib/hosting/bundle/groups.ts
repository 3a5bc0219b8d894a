import { crypto } from '../../core/holepunch.js'
import type { BundleEntry } from './contents.js'

/** One of this many files begins a group, on average. */
const FILES_PER_GROUP = 8
/** Files of this size and above are a group each, so that a change before one does not move where it is cut. */
const LARGE_BYTES = 256 * 1024

/**
 * Where a bundle is cut: before each file that the hash of its path chooses, and around large ones. So a file that
 * changes, comes or goes only changes the chunks of its own group.
 */
export function groupsOf(entries: readonly BundleEntry[]): BundleEntry[][] {
  const groups: BundleEntry[][] = []
  let isAfterLarge = true
  for (const entry of entries) {
    const isLarge = entry.size >= LARGE_BYTES
    const group = groups.at(-1)
    if (!group || isLarge || isAfterLarge || isChosen(entry.path)) groups.push([entry])
    else group.push(entry)
    isAfterLarge = isLarge
  }
  return groups
}

function isChosen(path: string): boolean {
  return crypto.hash(Buffer.from(path)).readUInt32BE(0) % FILES_PER_GROUP === 0
}
