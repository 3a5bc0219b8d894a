import { once } from 'node:events'
import { SeaportError } from '../core/errors.js'
import type { HyperDHT } from '../core/holepunch.js'
import { toHex } from '../core/keys.js'

/** How long another process that serves a key may take to answer before it counts as dead. */
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

/**
 * Makes sure that nobody else serves under a key.
 *
 * @throws KEY_IN_USE, or the signal's reason
 */
export async function checkAlone(dht: HyperDHT, publicKey: Buffer, stop: AbortSignal) {
  if (!(await isServed(dht, publicKey, stop))) return
  throw SeaportError.KEY_IN_USE(
    `another running process serves under ${toHex(publicKey)}; stop it, or give this one another seed`
  )
}
