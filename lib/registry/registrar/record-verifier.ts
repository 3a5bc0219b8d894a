import { Verifier, type VerifierOptions } from '../../core/verifier.js'
import { type ServiceRecord, verifyRecord } from '../trust/record.js'

interface Received {
  record: ServiceRecord
  /** What it was read from. */
  json: string
}

/** Verifies that records were signed by their own keys. */
export function recordVerifier(
  options: Pick<VerifierOptions<Received>, 'cores' | 'idleMs'> = {}
): Verifier<Received> {
  return new Verifier({
    thread: new URL('./record-thread.js', import.meta.url),
    pack: (received) => received.map(({ json }) => json),
    verify: ({ record }) => verifyRecord(record),
    ...options
  })
}
