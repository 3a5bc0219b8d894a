import type { KeyPair } from '../../core/keys.js'
import type { Network } from '../../core/network.js'
import type { Storage } from '../log/storage.js'
import type { Limits } from '../swarm/limits.js'
import type { StatementKind } from '../trust/statement-kind.js'

export interface RegistrarOptions {
  network: Network
  /** The registry's own key pair. */
  keyPair: KeyPair
  /** Open, and closed by whoever opened it. */
  storage: Storage
  /** Whether to admit only keys with a grant. Left out: as its folder knows, or others of the registry say. */
  private?: boolean | undefined
  /** How long others have to say whether the registry is private, if the folder does not know, in ms. */
  modeWait?: number
  /** How often leases are checked, in ms: a crash is noticed after 3 to 4 of these. */
  heartbeat?: number
  /** How long a connection that was closed properly may take to come back, in ms. */
  returnGrace?: number
  /** How long owners may take to find a registrar that was restarted, in ms. */
  restartGrace?: number
  /** How long instances are kept, as a last resort, whose leases vanished with most others, in ms. */
  staleGrace?: number
  /** What it takes of others. */
  limits?: Partial<Limits> | undefined
  /** Kinds of statements that it takes beside those of every registry. */
  kinds?: readonly StatementKind[] | undefined
}
