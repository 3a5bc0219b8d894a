import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { SeaportError } from '../../lib/identity.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, JSON_FLAG } from '../flags.js'

const DEFAULT_PORT = 49737
const LOOPBACK = '127.0.0.1'

/** Runs the first nodes of a private DHT. */
export const bootstrap: Command = {
  verb: 'bootstrap',
  isLasting: true,
  flags: {
    port: {
      alias: 'p',
      describe: 'UDP port of the only node, or of the first, 0 for free ones',
      otherwise: `${DEFAULT_PORT}`
    },
    nodes: {
      describe: 'How many nodes to run, on ports that follow each other',
      otherwise: '4, or 1 if a port is named'
    },
    host: {
      describe: 'Address that others reach this node under',
      otherwise: `${LOOPBACK}, for this machine only`
    },
    json: JSON_FLAG,
    ...COMMON_FLAGS
  },
  examples: [
    ['bootstrap', 'An island of this machine alone'],
    ['bootstrap --host 192.168.1.10', 'An island of everyone who reaches that address'],
    ['bootstrap --host 192.168.1.10 --port 7000 --nodes 4', 'The same on other ports']
  ],

  async run(settings, lifetime) {
    const named = settings.listenPort('port', null)
    const port = named ?? DEFAULT_PORT
    const { BootstrapNode, ENOUGH_NODES } = await import('../../lib/bootstrap.js')
    const nodes = settings.count('nodes', named === null ? ENOUGH_NODES : 1)
    const host = settings.text('host', LOOPBACK)
    if (!isIPv4(host) || host === '0.0.0.0') {
      throw SeaportError.USAGE(
        `--host must be an IPv4 address that others reach, not ${JSON.stringify(host)}`
      )
    }

    const node = lifetime.own(new BootstrapNode({ port, host, nodes }))
    node.on('notice', (notice: Error) => console.error(notice.message))
    await node.setup()
    const { address } = node
    console.log(
      settings.on('json') ? JSON.stringify({ bootstrap: address }) : `bootstrap=${address}`
    )
    console.error(`join it with --bootstrap ${address}`)
    if (host === LOOPBACK) console.error(`only this machine reaches it${alternatives()}`)
    await lifetime.untilStopped()
  }
}

/** Addresses that would let others in. */
function alternatives(): string {
  const addresses = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => `--host ${address}`)
  return addresses.length > 0 ? `, others with ${addresses.join(' or ')}` : ''
}
