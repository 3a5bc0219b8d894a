import { parseKey, toHex } from './core/keys.js'
import { CHANNEL, TAKEOVER } from './core/purpose.js'
import type { ServiceRole } from './core/role.js'
import { linksOf } from './dialing/links.js'
import type { ClientsParts } from './messaging/clients/clients.js'
import type { HandOverOptions } from './messaging/state/hand-over.js'
import { Newcomer, type NewcomerOptions } from './messaging/state/newcomer.js'
import { Predecessor } from './messaging/state/predecessor.js'
import { StateFiles } from './registry/log/own-keys.js'
import type { Participant } from './registry/replica/participant.js'
import { recordOf } from './registry/trust/signed.js'

/** What a newcomer is told: whom to take over from, or only that it is to. */
export type TakeOverFrom = boolean | Buffer | string

/** How long one that was taken over from is there yet, as a last resort for who has no link to the newcomer so far, in ms. */
export const STAY_MS = 1000

export interface ArrivalOptions
  extends Pick<NewcomerOptions, 'scope' | 'state' | 'keyPair' | 'onnotice'> {
  participant: Participant
  role: ServiceRole
  dir: string | undefined
  /** Aborted when the service is destroyed. */
  signal: AbortSignal
  /** Waits for what is known of the registry, as long as the service may. */
  known: (usable: Promise<void>) => Promise<void>
  /** Registers it: as one that looks for the state before it, or as any other. */
  appear: (joining: boolean) => Promise<void>
  /** It has found what there was. */
  joined: () => void
}

/**
 * Has a service appear in the registry, and take over from another one before, if it is to.
 *
 * @throws BAD_KEY, NOT_ALLOWED, BUSY, REFUSED, and what the steps throw
 */
export async function arrive(takeOver: TakeOverFrom, options: ArrivalOptions) {
  const { participant, signal, known, appear, joined } = options
  if (takeOver === false) {
    await appear(false)
    return tellPredecessor(options)
  }
  const { newcomer, close } = newcomerOf(takeOver, options)
  try {
    await known(participant.usable())
    const joining = await newcomer.prepare()
    signal.throwIfAborted()
    await appear(joining)
    if (joining) await newcomer.search(signal)
    options.state.release()
    if (joining) joined()
    await newcomer.finish()
  } finally {
    await close()
  }
  tellPredecessor(options)
}

/** Whoever had the state before is told that we go on with it, should it come back: until the service is destroyed. */
function tellPredecessor({ participant, role, signal, ...options }: ArrivalOptions) {
  const { keyPair, state } = options
  if (!state.succession || signal.aborted) return
  const { directory } = participant.replica
  const pool = linksOf(participant, undefined, { keyPair: () => keyPair })
  const predecessor = new Predecessor({
    ...options,
    version: role.version,
    processKeyPair: participant.keyPair,
    open: (key, signal) => pool.open(key, { purpose: TAKEOVER, signal }),
    isThere: (key) => {
      const one = directory.get(key)
      const isOurs = one?.role === role.role && one.live && one.speaks.includes(TAKEOVER)
      return isOurs && one.status !== 'draining'
    },
    watch: (listener) => directory.watch(listener)
  })
  signal.addEventListener('abort', () => {
    predecessor.close()
    // It never rejects: its links are only let go.
    void pool.close()
  })
}

function newcomerOf(
  takeOver: Exclude<TakeOverFrom, false>,
  { participant, role, dir, ...options }: ArrivalOptions
): { newcomer: Newcomer; close: () => Promise<void> } {
  const only = takeOver === true ? null : toHex(parseKey(takeOver, 'key to take over from'))
  const { keyPair } = options
  const { directory } = participant.replica
  const registry = Buffer.from(options.scope.registry, 'hex')
  const files = new StateFiles(registry, role.role, keyPair.publicKey, dir)
  const pool = linksOf(participant, undefined, { keyPair: () => keyPair })
  const newcomer = new Newcomer({
    ...options,
    only,
    version: role.version,
    processKeyPair: participant.keyPair,
    open: (key, signal) => pool.open(key, { purpose: TAKEOVER, signal }),
    running: () =>
      directory
        .list()
        .filter((one) => one.role === role.role && one.live && one.speaks.includes(TAKEOVER))
        .map(({ servicePublicKey }) => servicePublicKey),
    journals: () => files.others(),
    journal: (key) => files.other(key),
    journalPath: (key) => files.pathOf(key),
    heldJournals: () => files.held(),
    isKnown: (owner) => {
      const entry = directory.entry(owner)
      return entry !== null && recordOf(entry).role === role.role
    }
  })
  return { newcomer, close: () => pool.close() }
}

/** What an instance asks the registry of others of its role: the running side of a hot swap, and who has clients. */
export function overseerOf(
  participant: () => Participant,
  { role }: ServiceRole
): Pick<HandOverOptions, 'mayServe' | 'isRegistered'> &
  Pick<ClientsParts, 'instances' | 'isInstance'> {
  return {
    mayServe: (key, version) => {
      const { grants } = participant().membership
      return grants.isPrivate === true && grants.allows(key, { kind: 'serve', role, version })
    },
    isRegistered: (key) => {
      const { registrars, directory } = participant().replica
      const instance = directory.get(key)
      return registrars.length === 0 ? null : instance?.live === true && instance.role === role
    },
    instances: () =>
      participant()
        .replica.directory.resolve(role, '*')
        .filter(({ speaks }) => speaks.includes(CHANNEL))
        .map(({ servicePublicKey }) => servicePublicKey),
    isInstance: (key) => {
      const entry = participant().replica.directory.entry(key)
      return entry !== null && recordOf(entry).role === role
    }
  }
}
