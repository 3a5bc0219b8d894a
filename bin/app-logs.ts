import type { Apps } from '../lib/index.js'
import { parseDuration } from '../lib/options.js'
import { printable } from '../lib/printing.js'
import { printData } from './output.js'
import type { Settings } from './settings.js'

/** A line, where it comes from, and when. */
interface Line {
  at: number
  hostName: string
  slot: number
  text: string
}

const DATE = /^\d{4}-/

/** Prints what the instances of an app have written, in the order of time, and what they go on to write. */
export async function printLogs(apps: Apps, name: string, settings: Settings) {
  const instance = settings.text('instance', undefined)
  const [, hostName, slot] = /^(?:(.+)\/)?(\d+)$/.exec(instance ?? '') ?? [null, instance]
  const since = settings.text('since', undefined)
  const follow = settings.on('follow')
  const terms = {
    lines: settings.count('lines', 100),
    follow,
    ...(since !== undefined && { since: timeOf(since) }),
    ...(slot !== undefined && { slot: Number(slot) })
  }
  const held: Line[] = []
  const print = ({ at, text, ...from }: Line) => {
    const time = new Date(at).toISOString()
    const line = printable(text)
    return printData(
      settings.on('json')
        ? JSON.stringify({ time, host: from.hostName, instance: from.slot, line })
        : `${time} ${from.hostName}/${from.slot} ${line}`
    )
  }
  for await (const { lines, ...from } of apps.logs(name, terms)) {
    if (hostName !== undefined && hostName !== from.hostName) continue
    for (const line of lines) {
      if (follow) await print({ ...from, ...line })
      else held.push({ ...from, ...line })
    }
  }
  held.sort((one, other) => one.at - other.at)
  for (const line of held) await print(line)
}

/** So long ago, or at a date; in ms since 1970. @throws USAGE */
function timeOf(text: string): number {
  const at = DATE.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? Date.now() - parseDuration(text) : at
}
