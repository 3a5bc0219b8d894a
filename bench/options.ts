import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export interface Options {
  /** How often each measurement is taken. */
  runs: number
  /** How long each load lasts. */
  seconds: number
  only: string[]
  skip: string[]
  out: string
  quick: boolean
  /** Folder for the CPU profiles of our processes, or null for none. */
  profiles: string | null
  /** How much each measurement moves. */
  size: Size
}

export interface Size {
  /** One bulk transfer, in MB. */
  bulk: number
  /** What passes in the memory row, in MB, and then in connections. */
  memory: number
  memoryConnections: number
  /** Requests through the gateway while its memory is read. */
  gatewayRequests: number
  /** Rounds of rolling restarts. */
  rounds: number
  /** Idle consumers at a time. */
  consumers: number[]
  /** Cold links, and services that register. */
  cold: number
  registrations: number
  /** Pages at one gateway. */
  sockets: number
  /** How long one waits for what needs time, as a share of what it may need. */
  patience: number
}

const FULL: Size = {
  bulk: 512,
  memory: 4096,
  memoryConnections: 20_000,
  gatewayRequests: 1_000_000,
  rounds: 10,
  consumers: [1, 10, 100],
  cold: 3,
  registrations: 100,
  sockets: 10_000,
  patience: 1
}
const QUICK: Size = {
  bulk: 128,
  memory: 256,
  memoryConnections: 2000,
  gatewayRequests: 20_000,
  rounds: 2,
  consumers: [1, 10],
  cold: 1,
  registrations: 20,
  sockets: 500,
  patience: 1 / 4
}

const HELP = `Usage: npm run bench -- [options]

  --runs N        how often each measurement is taken (3)
  --seconds N     how long each load lasts (4)
  --sockets N     how many pages there are at a gateway (10000)
  --only a,b      only these rows
  --skip a,b      all but these rows
  --out FILE      where to write the results (bench/results/latest.json)
  --profiles DIR  write CPU profiles of hyperseaport's processes there
  --quick         one short run of everything, to see that it works

Rows: `

/** Reads the command line. Unknown options and rows throw; --help prints and returns null. */
export function readOptions(args: string[], rows: string[], root: string): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: 'string' },
      seconds: { type: 'string' },
      sockets: { type: 'string' },
      only: { type: 'string', default: '' },
      skip: { type: 'string', default: '' },
      out: { type: 'string', default: resolve(root, 'bench/results/latest.json') },
      profiles: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) {
    console.log(HELP + rows.join(', '))
    return null
  }
  const named = (text: string) => {
    const names = text.split(',').filter(Boolean)
    const unknown = names.find((name) => !rows.includes(name))
    if (unknown) throw new Error(`no row is called ${unknown}; there are ${rows.join(', ')}`)
    return names
  }
  const { quick } = values
  const size = quick ? QUICK : FULL
  return {
    runs: positive('runs', values.runs ?? (quick ? '1' : '3')),
    seconds: positive('seconds', values.seconds ?? (quick ? '1' : '4')),
    only: named(values.only),
    skip: named(values.skip),
    out: resolve(values.out),
    quick,
    profiles: values.profiles === undefined ? null : resolve(values.profiles),
    size: { ...size, sockets: positive('sockets', values.sockets ?? `${size.sockets}`) }
  }
}

function positive(name: string, text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new Error(`--${name} must be a positive number, not ${text}`)
  return number
}
