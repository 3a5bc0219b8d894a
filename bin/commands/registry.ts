import { Registry, type ServiceRecord } from '../../lib/index.js'
import { KeyPair } from '../../lib/keys.js'
import { defaultDir } from '../../lib/registry/storage.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, DIR_FLAG, NETWORK_FLAGS, networkOptions } from '../flags.js'
import { say, waitAloud } from '../talk.js'

/** Runs a registrar. */
export const registry: Command = {
  verb: 'registry',
  describe: 'Run a registry; run it twice with one seed, anywhere, and either may fail',
  flags: {
    registrySeed: {
      describe: 'The registry, its seed or @file',
      needed: "make one with 'hyperseaport seed --out ~/.config/hyperseaport'"
    },
    registryDir: { describe: 'Folder to keep the records in, as --dir' },
    dir: DIR_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['registry', 'With the seed in the config file'],
    ['registry --registrySeed @seed.txt', 'With a seed in another file']
  ],

  async run(settings, lifetime) {
    const seed = settings.key('registrySeed')
    const { publicKey } = KeyPair(seed)
    const dir =
      settings.text('registryDir', undefined) ??
      settings.text('dir', defaultDir(publicKey, 'registry'))

    const registry = lifetime.own(Registry({ seed, dir, ...networkOptions(settings) }))
    registry.on('notice', (notice: Error) => say(notice.message))
    registry.on('registered', (record: ServiceRecord) => say(`registered ${nameOf(record)}`))
    registry.on('gone', (record: ServiceRecord) => say(`gone ${nameOf(record)}`))
    say(`storing in ${dir}`)
    await waitAloud(registry.setup(), () => 'still announcing the registry on the DHT')
    console.log(`registryPublicKey=${registry.registryPublicKey}`)
    await lifetime.untilStopped()
  }
}

function nameOf({ role, version, key }: ServiceRecord): string {
  return `${role}@${version} ${key}`
}
