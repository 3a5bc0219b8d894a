import { ADMIN_FLAGS, registryOf } from '../administration.js'
import type { Command } from '../command.js'
import { networkOptions } from '../flags.js'
import { say, sayIfFirst } from '../talk.js'

/** What is said where a host cannot do it. */
const CAN = [
  ['users', 'apps run as this user, and can read its keys and each other: see --uids'],
  ['memory', 'no cgroup: the limit of memory holds for each process of an app'],
  ['pids', 'no cgroup: the number of processes of an app is not limited'],
  ['cpu', 'no cgroup: the share of cores of an app is not limited']
] as const
const NO_SANDBOX = 'no bubblewrap: apps that ask for a sandbox are not run here'

/** Runs apps on this machine. */
export const host: Command = {
  verb: 'host',
  isLasting: true,
  flags: {
    name: { describe: 'What it is called', otherwise: 'the name of the machine' },
    label: { kind: 'list', describe: 'What apps may ask for, as in region=eu, may be repeated' },
    memory: {
      describe: 'How much of it apps may have, as in 2GiB',
      otherwise: 'it is not counted'
    },
    driver: {
      kind: 'list',
      describe:
        'What runs apps here, may be repeated: process, and bubblewrap for those that ask for a sandbox',
      otherwise: 'both, where there is bubblewrap'
    },
    minFree: { describe: 'Percent of the disk that stay free', otherwise: '10' },
    uids: {
      describe: 'Users for apps, one for each, as in 61000-61999; only for root',
      otherwise: 'all run as this user, and can read what it can'
    },
    stopApps: {
      kind: 'switch',
      describe: 'End the apps with this process; they go on otherwise, and its next run finds them'
    },
    drainTimeout: {
      describe:
        'How long open streams may go on when an instance is stopped, in seconds or as in 500ms',
      otherwise: '30'
    },
    ...ADMIN_FLAGS
  },
  examples: [
    ['host --registrySeed @seed', 'A host that grants itself the right to run apps'],
    [
      'host --registryPublicKey abe2… --label region=eu',
      'One that an admin grants it: grant KEY --host'
    ]
  ],

  async run(settings, lifetime) {
    const { seed, registryPublicKey } = registryOf(settings)
    const minFree = settings.text('minFree', undefined)
    const { Host } = await import('../../lib/index.js')
    const host = lifetime.own(
      Host({
        seed,
        registryPublicKey,
        name: settings.text('name', undefined),
        labels: settings.list('label'),
        drivers: settings.list('driver'),
        memory: settings.size('memory', undefined),
        minFree: minFree === undefined ? undefined : Number(minFree.replace('%', '')) / 100,
        uids: settings.text('uids', undefined),
        stopApps: settings.on('stopApps'),
        drainTimeout: settings.delay('drainTimeout', undefined),
        dir: settings.path('dir', undefined),
        ...networkOptions(settings)
      })
    )
    host.on('listening', (key) => console.log(`started host ${key}`))
    host.on('registered', () => console.log('registered host'))
    for (const event of ['denied', 'notice'] as const)
      host.on(event, (error: Error) => say(error.message))
    let last = ''
    host.on('instance', ({ app, version, slot, state, pid, reason }) => {
      const line = `${app}@${version} ${slot} ${state}${pid === null ? '' : ` pid ${pid}`}${reason ? `: ${reason}` : ''}`
      if (line !== last) console.log(line)
      last = line
    })
    sayIfFirst('apps leave')
    await host.setup()
    const missing = CAN.filter(([ability]) => !host.abilities.includes(ability))
    for (const [, text] of missing) say(text)
    if (!host.drivers.includes('bubblewrap')) say(NO_SANDBOX)
    await lifetime.untilStopped()
  }
}
