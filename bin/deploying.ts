import type { Apps } from '../lib/index.js'
import { registryOf } from './administration.js'
import { networkOptions } from './flags.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'
import { shownKey } from './shown-key.js'
import { say, waitAloud } from './talk.js'

/** Opens what commands apps, in whose name is possible: the seed's, or this user's own key. */
export async function openApps(settings: Settings, lifetime: Lifetime): Promise<Apps> {
  const { seed, registryPublicKey } = registryOf(settings)
  const registry = await shownKey(registryPublicKey)
  const { Apps } = await import('../lib/index.js')
  const apps = lifetime.own(
    Apps({
      seed,
      registryPublicKey,
      dir: settings.path('dir', undefined),
      ...networkOptions(settings)
    })
  )
  apps.on('notice', (notice: Error) => {
    if (settings.on('verbose')) say(notice.message)
  })
  await waitAloud(apps.setup(), () => `still searching for the registry ${registry}`)
  return apps
}
