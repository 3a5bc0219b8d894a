import { ONLY_BYTES } from '../../core/purpose.js'
import { isStale, type LogEntry, recordOf, type Status } from '../trust/record.js'

/** Where an instance of an app runs, as its host has signed. */
export interface AppPlace {
  /** The host's public key, hex. */
  host: string
  /** The number that it has there. */
  slot: number
  /** The hash of its release. */
  release: string
}

/** One instance as it is shown and dialed. */
export interface Instance {
  role: string
  version: string
  /** Hex. */
  servicePublicKey: string
  tags: string[]
  /** As its owner says; `stale` if its lease vanished with many others, and it may well be there. */
  status: Status | 'stale'
  /** What is wrong, as its owner says, where it fails. */
  reason?: string
  /** Whether a registrar that we are connected to holds its lease; else only copies of logs know it. */
  live: boolean
  direct: string[]
  /** The purposes of streams that it takes; `''` stands for bytes of its backend. */
  speaks: readonly string[]
  /** Whether it looks for the state of the one before it. */
  joining?: true
  /** Where it runs, if it is an instance of an app. */
  app?: AppPlace
  seq: number
}

/** The instance that an entry of a log tells of. */
export function toInstance(entry: LogEntry, live: boolean): Instance {
  const record = recordOf(entry)
  const { role, version, key, tags, reason, direct, speaks = ONLY_BYTES, seq } = record
  const status = statusOf(entry)
  return {
    ...{ role, version, servicePublicKey: key, tags, status, live, direct, speaks, seq },
    ...(reason !== undefined && status === 'failing' && { reason }),
    ...(record.joining && { joining: true }),
    ...(record.app && { app: placeOf(record.app) })
  }
}

function placeOf({ host, slot, release }: AppPlace): AppPlace {
  return { host, slot, release }
}

/** Its status, or that its lease vanished with others. */
export function statusOf(entry: LogEntry): Instance['status'] {
  return isStale(entry) ? 'stale' : recordOf(entry).status
}
