import { once } from 'node:events'
import type { Consumer, LogView } from '../lib/index.js'

/** How long registrars that are known may take to be heard of. */
const HEARING_TIMEOUT_MS = 1000
const SHOWN_KEY_LENGTH = 8

/** Which registrars are alive, and how far our copy is behind each: a line for each of them. */
export async function freshness(consumer: Consumer): Promise<string[]> {
  await allHeard(consumer)
  return consumer.getStats().logs.map(toLine)
}

/** The first registrar that is heard of is enough to begin with; the others follow in a moment. */
async function allHeard(consumer: Consumer) {
  const signal = AbortSignal.timeout(HEARING_TIMEOUT_MS)
  const isMissing = () => consumer.getStats().logs.some(({ live }) => !live)
  while (isMissing() && !signal.aborted) {
    await once(consumer, 'registrar', { signal }).catch(() => {})
  }
}

function toLine({ registrarKey, applied, behind, live, heardAt }: LogView): string {
  const registrar = `registrar ${registrarKey.slice(0, SHOWN_KEY_LENGTH)}…`
  const seen = live ? 'is alive' : `is away, ${heardAt === null ? 'not heard of' : ago(heardAt)}`
  const copy = behind === 0 ? 'all of it here' : `${behind} of them not here yet`
  return `${registrar} ${seen}; its log has ${applied + behind} blocks, ${copy}`
}

function ago(time: number): string {
  return `last heard of ${Math.round((Date.now() - time) / 1000)} s ago`
}
