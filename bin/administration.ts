import { KeyPair } from '../lib/identity.js'
import type { Admin } from '../lib/index.js'
import type { Flag } from './declaration.js'
import {
  bootstrapOf,
  COMMON_FLAGS,
  DIR_FLAG,
  JSON_FLAG,
  NETWORK_FLAGS,
  REGISTRY_PUBLIC_KEY_FLAG
} from './flags.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'
import { shownKey } from './shown-key.js'
import { say, waitAloud } from './talk.js'

/** What to know of grants where nobody needs one. */
export const OPEN_REGISTRY =
  'this registry is open: everybody may serve and consume, granted or not'

/** Flags of the verbs that read or write grants. */
export const ADMIN_FLAGS = {
  registrySeed: {
    describe: 'The registry, its seed or @file',
    otherwise: "this user's own key acts, if it is an admin's"
  },
  registryPublicKey: {
    ...REGISTRY_PUBLIC_KEY_FLAG,
    otherwise: 'that of the seed',
    unless: ['registrySeed']
  },
  json: JSON_FLAG,
  dir: DIR_FLAG,
  ...NETWORK_FLAGS,
  ...COMMON_FLAGS
} satisfies Record<string, Flag>

/** Flags of the verbs that read what is registered, and say whose registry it is. */
export const READER_FLAGS = {
  registrySeed: {
    describe: 'The registry, its seed or @file; its owner needs no grant',
    otherwise: "this user's own key asks"
  },
  registryPublicKey: ADMIN_FLAGS.registryPublicKey
} satisfies Record<string, Flag>

/** The flag that says whom it is about. */
export const KEY_FLAG = {
  describe: "A process's or service's public key",
  needed: "the key that 'hyperseaport key' prints there",
  commandLineOnly: true
} satisfies Flag

/** Opens the administration of the registry that was meant, in whose name is possible. */
export async function openAdmin(
  settings: Settings,
  lifetime: Lifetime,
  { host } = { host: settings.text('host', undefined) }
): Promise<Admin> {
  const { seed, registryPublicKey } = registryOf(settings)
  const { Admin } = await import('../lib/admin.js')
  const registry = await shownKey(registryPublicKey)
  const admin = lifetime.own(
    Admin({
      seed,
      registryPublicKey,
      dir: settings.path('dir', undefined),
      bootstrap: bootstrapOf(settings),
      host
    })
  )
  await waitAloud(admin.setup(), () => `still searching for a registrar of ${registry}`)
  return admin
}

/**
 * Waits for registrars that are known and not heard of yet, and says which are not reached in time: what they alone know is
 * not in what is printed.
 *
 * @param timeout in ms. Default: that of `missing`
 */
export async function hearAll(admin: Admin, timeout?: number) {
  const missing = await waitAloud(
    admin.missing(timeout),
    () => 'still waiting for registrars that are known'
  )
  for (const { registrarKey } of missing) {
    say(
      `the registrar ${registrarKey} is not reached: what it alone knows is missing here. Is it gone for good? hyperseaport registrars --forget ${registrarKey.slice(0, 8)}`
    )
  }
}

/** The registry to read, and the key to read it with: the registry's own, if its seed is there. */
export function readerOf(settings: Settings) {
  const { seed, registryPublicKey } = registryOf(settings)
  return { registryPublicKey, keyPair: seed && KeyPair(seed) }
}

/** A seed in the config file is of no use for another registry, which the command line may name. */
export function registryOf(settings: Settings) {
  const seed = settings.key('registrySeed', undefined)
  if (!seed) return { seed, registryPublicKey: settings.key('registryPublicKey') }
  const { publicKey } = KeyPair(seed)
  const registryPublicKey = settings.key('registryPublicKey', publicKey)
  return { seed: registryPublicKey.equals(publicKey) ? seed : undefined, registryPublicKey }
}
