import { createHash } from 'node:crypto'

/**
 * Keys in the order in which they are responsible for a client (rendezvous hashing). Everybody computes the same order,
 * and few clients move when an instance comes or goes.
 */
export function byRendezvous(name: string, keys: readonly string[]): string[] {
  const weights = new Map(
    keys.map((key) => [key, createHash('sha256').update(`${name}\n${key}`).digest('hex')])
  )
  const weightOf = (key: string) => weights.get(key) ?? ''
  return [...keys].sort((a, b) => (weightOf(a) < weightOf(b) ? 1 : -1))
}
