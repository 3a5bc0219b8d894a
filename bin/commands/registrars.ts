import { ADMIN_FLAGS, openAdmin } from '../administration.js'
import type { Command } from '../command.js'
import { table } from '../table.js'

const COLUMNS = ['REGISTRAR', 'SINCE', 'RENEWED', 'STATE']

/** Lists the registrars, and strikes off those that are gone for good. */
export const registrars: Command = {
  verb: 'registrars',
  flags: {
    forget: {
      describe:
        'The key of a registrar that is gone for good, or its first digits: what runs once only (place.single of an app) waits for it no longer',
      otherwise: 'list them',
      commandLineOnly: true
    },
    ...ADMIN_FLAGS
  },
  examples: [
    ['registrars', 'Which there are, when each renewed its certificate, and which are running'],
    ['registrars --json', 'For a program to read'],
    ['registrars --forget 5f2a90c1', 'After its disk was lost, or when it is not started again']
  ],

  async run(settings, lifetime) {
    const json = settings.on('json')
    const key = settings.text('forget', undefined)
    const admin = await openAdmin(settings, lifetime)
    if (key !== undefined) {
      const forgotten = await admin.forget(key)
      return console.log(
        json ? JSON.stringify(forgotten, null, 2) : `forgot the registrar ${forgotten.registrar}`
      )
    }
    const found = await admin.registrars()
    if (json) return console.log(JSON.stringify(found, null, 2))
    const rows = found.map(({ registrarKey, since, renewedAt, live, isForgotten }) => [
      registrarKey,
      dateOf(since),
      dateOf(renewedAt),
      isForgotten ? 'forgotten' : live ? 'running' : 'not reached'
    ])
    console.log(table([COLUMNS, ...rows]))
  }
}

/** To the second. */
function dateOf(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+/, '')
}
