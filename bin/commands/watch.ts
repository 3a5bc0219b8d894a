import type { DirectoryChange, Instance } from '../../lib/index.js'
import { printableJson } from '../../lib/printing.js'
import { READER_FLAGS, readerOf } from '../administration.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, DIR_FLAG, JSON_FLAG, NETWORK_FLAGS, networkOptions } from '../flags.js'
import { printData } from '../output.js'
import { shownKey } from '../shown-key.js'
import { say, waitAloud } from '../talk.js'

/** Shows what is registered now, and every change from then on. */
export const watch: Command = {
  verb: 'watch',
  isLasting: true,
  positional: 'role',
  flags: {
    role: { alias: 'r', describe: 'Name and semver range', otherwise: 'all' },
    ...READER_FLAGS,
    json: { ...JSON_FLAG, describe: 'Print a line of JSON for each change' },
    dir: DIR_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['watch', 'Everything that happens'],
    ['watch couchdb@3.x --json', 'What happens to one role, for a program to read']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role', undefined)
    const matches = role === undefined ? () => true : await matcher(role)
    const { registryPublicKey, keyPair } = readerOf(settings)
    const json = settings.on('json')
    const show = (change: DirectoryChange, instance: Instance) => {
      if (matches(instance)) printData(json ? toJson(change, instance) : toLine(change, instance))
    }

    const { Consumer } = await import('../../lib/consumer.js')
    const registry = await shownKey(registryPublicKey)
    const consumer = lifetime.own(
      Consumer([], {
        registryPublicKey,
        keyPair,
        dir: settings.path('dir', undefined),
        verb: 'watch',
        // Whoever serves a copy in the registry's name is taken for a registrar when it denies somebody.
        serve: keyPair === undefined,
        timeout: Infinity,
        ...networkOptions(settings)
      })
    )
    for (const event of ['denied', 'notice'] as const) {
      consumer.on(event, (error: Error) => say(error.message))
    }
    await waitAloud(consumer.setup(), () => `still searching for the registry ${registry}`)
    for (const instance of consumer.list()) show('up', instance)
    consumer.watch(show)
    await lifetime.untilStopped()
  }
}

async function matcher(text: string): Promise<(instance: Instance) => boolean> {
  const { isInRange, parseRoleRange } = await import('../../lib/roles.js')
  const { role, range } = parseRoleRange(text)
  return (instance) => instance.role === role && isInRange(instance.version, range)
}

function toJson(change: DirectoryChange, instance: Instance): string {
  return printableJson({ change, ...instance, time: now() })
}

function toLine(change: DirectoryChange, instance: Instance): string {
  const { role, version, status, live, servicePublicKey, tags } = instance
  const seen = live ? status : `${status} (last known)`
  const line = [change.padEnd(6), `${role}@${version}`, seen, servicePublicKey, ...tags, now()]
  return line.join(' ')
}

/** When we heard of it. */
function now(): string {
  return new Date().toISOString()
}
