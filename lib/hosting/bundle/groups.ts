import { crypto } from '../../core/holepunch.js'
import type { BundleEntry } from './contents.js'

/** One of so many files begins a group. */
const FILES_PER_GROUP = 8
/** Files that are as large are a group each: what comes before them may not move where they are cut. */
const LARGE_BYTES = 256 * 1024

/**
 * Where a bundle is cut: before each file that the hash of its path chooses, and around large ones. So a file that
 * changes, comes or goes changes the chunks of its own group, and all others are what they were.
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
