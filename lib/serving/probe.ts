import { once } from 'node:events'
import type { HyperDHT } from '../core/holepunch.js'

/** How long another process under a key has to pick up before we take it for dead. */
const PROBE_TIMEOUT_MS = 1000

/**
 * Whether somebody answers under a service key. Two servers of one key steal each other's callers, so a
 * service asks before it listens.
 *
 * @throws the signal's reason
 */
export async function isServed(
  dht: HyperDHT,
  publicKey: Buffer,
  stop: AbortSignal
): Promise<boolean> {
  const connection = dht.connect(publicKey)
  connection.on('error', () => {})
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PROBE_TIMEOUT_MS)])
  const isAnswered = await Promise.race([
    once(connection, 'open', { signal }).then(() => true),
    once(connection, 'close', { signal }).then(() => false)
  ]).catch(() => false)
  connection.destroy()
  stop.throwIfAborted()
  return isAnswered
}
