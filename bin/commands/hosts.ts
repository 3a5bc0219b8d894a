import { printableJson } from '../../lib/printing.js'
import { ADMIN_FLAGS } from '../administration.js'
import type { Command } from '../command.js'
import { openApps } from '../deploying.js'
import { table } from '../table.js'
import { say } from '../talk.js'

const COLUMNS = ['HOST', 'NAME', 'STATE', 'LABELS', 'MEMORY', 'PLATFORM', 'DRIVERS', 'CAN']

/** Lists the machines that run apps. */
export const hosts: Command = {
  verb: 'hosts',
  flags: ADMIN_FLAGS,
  examples: [
    ['hosts', 'A table'],
    ['hosts --json', 'For a program to read']
  ],

  async run(settings, lifetime) {
    const apps = await openApps(settings, lifetime)
    const rows = apps
      .hosts()
      .map(({ host, name, labels, memory, platform, drivers, abilities, ...rest }) => ({
        host,
        name,
        state: rest.isStale ? 'stale' : rest.isDraining ? 'draining' : 'ready',
        labels: [...labels],
        memory: Number.isFinite(memory) ? memory : null,
        platform,
        drivers: [...drivers],
        abilities: [...abilities]
      }))
    if (settings.on('json')) return console.log(printableJson(rows, 2))
    if (rows.length === 0) return say('no host may run apps yet: hyperseaport host --help')
    const lines = rows.map((row) => [
      row.host,
      row.name,
      row.state,
      row.labels.join(' ') || '-',
      row.memory === null ? '-' : `${Math.round(row.memory / 2 ** 20)} MiB`,
      row.platform,
      row.drivers.join(' '),
      row.abilities.join(' ') || '-'
    ])
    console.log(table([COLUMNS, ...lines]))
  }
}
