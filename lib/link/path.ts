/** What carries a link: HyperDHT's UDX, hole-punched or passed on by a relay, or a TCP connection. */
export type Path = 'dht' | 'direct' | 'relayed'

const BEST_FIRST: readonly Path[] = ['direct', 'dht', 'relayed']

/** Whether streams should rather go on one path than on the other. */
export function isBetter(path: Path, other: Path): boolean {
  return BEST_FIRST.indexOf(path) < BEST_FIRST.indexOf(other)
}
