import { SeaportError } from '../../core/errors.js'
import type { LogNotice } from '../swarm/protocol.js'
import { type Certificate, checkCertificate } from '../trust/certificate.js'
import { checkSnapshot, type Snapshot } from '../trust/snapshot.js'

/**
 * What a peer says that it has of a log. Certificate and snapshot are signed; the length is only its word.
 */
export interface CheckedLogNotice {
  certificate: Certificate
  /** Blocks. */
  length: number
  /** A snapshot of the log's first blocks, which the peer has. */
  snapshot: Snapshot | null
}

/**
 * Checks what a peer says of a log.
 *
 * @throws BAD_MESSAGE
 */
export function checkLogNotice(notice: LogNotice, registry: Buffer): CheckedLogNotice {
  try {
    const certificate = checkCertificate(notice.certificate, registry)
    const { length } = notice
    if (notice.snapshot === undefined) return { certificate, length, snapshot: null }
    const snapshot = checkSnapshot(notice.snapshot, registry)
    if (snapshot.logKey === certificate.logKey) return { certificate, length, snapshot }
    throw SeaportError.BAD_MESSAGE('the snapshot is of another log')
  } catch (error) {
    throw SeaportError.BAD_MESSAGE(
      `a peer passed on a bad certificate or snapshot: ${(error as Error).message}`
    )
  }
}
