import { ADMIN_FLAGS } from '../administration.js'
import type { Command } from '../command.js'
import { openApps } from '../deploying.js'

/** Empties a host of its apps. */
export const drain: Command = {
  verb: 'drain',
  positional: 'hostname',
  flags: {
    hostname: {
      describe: 'The name or key of a host',
      needed: "the name or key of a host: 'hyperseaport hosts' lists them",
      commandLineOnly: true
    },
    off: { kind: 'switch', describe: 'Use it again', commandLineOnly: true },
    ...ADMIN_FLAGS
  },
  examples: [
    ['drain attic', 'Before it is switched off'],
    ['drain attic --off', 'When it is back']
  ],

  async run(settings, lifetime) {
    const name = settings.text('hostname')
    const apps = await openApps(settings, lifetime)
    const isDraining = !settings.on('off')
    const { host } = await apps.drain(name, isDraining)
    if (settings.on('json')) return console.log(JSON.stringify({ host, isDraining }))
    console.log(isDraining ? `draining ${host}` : `using ${host} again`)
  }
}
