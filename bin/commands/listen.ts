import type { EventOrigin, PortlessEntry } from '../../lib/index.js'
import { printableJson } from '../../lib/printing.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import { printData } from '../output.js'
import { say } from '../talk.js'
import { ROLE_FLAG, TALKING_FLAGS, talkTo } from '../talking.js'

const ALL = '*'

/** Prints the events of all instances of a role, those that come later included. */
export const listen: Command = {
  verb: 'listen',
  isLasting: true,
  positional: ['role', 'type'],
  flags: {
    role: ROLE_FLAG,
    type: {
      kind: 'list',
      describe: 'Type of events, may be repeated',
      otherwise: 'all',
      commandLineOnly: true
    },
    json: { ...JSON_FLAG, describe: 'Print a line of JSON for each event' },
    ...TALKING_FLAGS
  },
  examples: [
    ['listen agent@1.x', 'All events'],
    ['listen agent@1.x FETCHED_TIME --json', 'Those of one type, for a program to read']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role')
    const { parseRoleRange } = await import('../../lib/roles.js')
    parseRoleRange(role)
    const json = settings.on('json')
    const given = settings.list('type')
    const types = given.length > 0 ? given : [ALL]
    const { entries } = await talkTo([role], settings, lifetime, {
      verb: 'listen',
      timeout: Infinity
    })
    const [{ events }] = entries as [PortlessEntry]
    const show = (data: unknown, origin: EventOrigin) => {
      if (origin.missed > 0) say(`${origin.missed} events of ${origin.instance} were missed`)
      printData(json ? printableJson({ ...origin, data: shown(data) }) : toLine(data, origin))
    }
    for (const type of new Set(types)) events.on(type, show)
    await Promise.race([events.ready(), lifetime.untilStopped()])
    say(`listening to ${role}`)
    await lifetime.untilStopped()
  }
}

function toLine(data: unknown, { type }: EventOrigin): string {
  return data === undefined ? type : `${type} ${printableJson(shown(data))}`
}

function shown(data: unknown): unknown {
  return data instanceof Uint8Array ? { base64: Buffer.from(data).toString('base64') } : data
}
