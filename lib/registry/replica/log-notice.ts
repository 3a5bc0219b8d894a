import { SeaportError } from '../../core/errors.js'
import { checkHead, type Head } from '../log/head.js'
import type { LogNotice } from '../swarm/protocol.js'
import { type Certificate, checkCertificate } from '../trust/certificate.js'
import { checkSnapshot, type Snapshot } from '../trust/snapshot.js'

/** What a peer says that it has of a log. All of it is signed but the length, which proves nothing by itself. */
export interface CheckedLogNotice {
  certificate: Certificate
  /** Blocks that it says it can give, of those that were proven to be written. */
  length: number
  /** How far the log went, as far as the peer can prove. */
  head: Head | null
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
    const { logKey } = certificate
    const head = notice.head === undefined ? null : checkHead(notice.head, logKey)
    if (notice.head !== undefined && !head) {
      throw SeaportError.BAD_SIGNATURE('the log’s key did not sign that head')
    }
    const snapshot = notice.snapshot === undefined ? null : checkSnapshot(notice.snapshot, registry)
    if (snapshot && snapshot.logKey !== logKey) {
      throw SeaportError.BAD_MESSAGE('the snapshot is of another log')
    }
    const proven = Math.max(head?.length ?? 0, snapshot?.length ?? 0)
    return { certificate, length: Math.min(notice.length, proven), head, snapshot }
  } catch (error) {
    throw SeaportError.BAD_MESSAGE(
      `a peer passed on a bad certificate, head or snapshot: ${(error as Error).message}`
    )
  }
}
