import { setTimeout as sleep } from 'node:timers/promises'
import type { SecretStream } from './holepunch.js'

/** How long a packet may take around the world and back, in ms. */
const ANSWER_MS = 700

/**
 * Whether what we send on a connection arrives, as far as its transport can tell. One that went by an address
 * that we have no more is dead, and nobody says so. Never rejects.
 */
export async function isAcknowledged(
  connection: SecretStream,
  timeout: number = ANSWER_MS
): Promise<boolean> {
  const over = new AbortController()
  const late = sleep(timeout, false, { signal: over.signal }).catch(() => false)
  connection.sendKeepAlive()
  const answered = connection.flush().catch(() => false)
  const isAlive = await Promise.race([answered, late])
  over.abort()
  return isAlive
}
