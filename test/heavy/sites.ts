import { resolve } from 'node:path'
import type { Test } from 'tap'
import type { Cli } from '../bin/cli.js'
import { Hosts, noHosts } from './hosts.js'

const DHT_NODE = resolve(import.meta.dirname, 'fixtures/dht-node.js')
const ADDRESSES = { here: '10.78.0.1', there: '10.78.0.2' } as const
const PORT = 49737

export type Site = keyof typeof ADDRESSES

/**
 * Two places that share one DHT, with a node at each, and a line between them that can be cut. Each is a
 * host of its own; without the rights to make hosts both are this one, and the line is never cut.
 */
export class Sites {
  /** The words that run a command there. */
  readonly at: { readonly [site in Site]: string[] }
  readonly #hosts: Hosts | null

  /** Everything that the command line starts from now on joins the DHT. */
  static async make(t: Test, cli: Cli): Promise<Sites> {
    if (noHosts) {
      await cli.island()
      return new Sites(null, { here: [], there: [] })
    }
    const hosts = new Hosts(t)
    const sites = new Sites(hosts, {
      here: hosts.add('here', ADDRESSES.here),
      there: hosts.add('there', ADDRESSES.there)
    })
    const first = cli.start(['bootstrap', '--host', ADDRESSES.here], { at: sites.at.here })
    await first.waitForLine('bootstrap=')
    const known = `${ADDRESSES.here}:${PORT}`
    const second = cli.start([known, ADDRESSES.there], { at: sites.at.there, program: DHT_NODE })
    await second.waitForLine('ready')
    cli.setEnv('HYPERSEAPORT_BOOTSTRAP', `${known},${ADDRESSES.there}:${PORT}`)
    return sites
  }

  private constructor(hosts: Hosts | null, at: Sites['at']) {
    this.#hosts = hosts
    this.at = at
  }

  get canBeCut(): boolean {
    return this.#hosts !== null
  }

  /** Loses every packet between the two, without telling anybody. */
  cut() {
    this.#hosts?.cut('here', 'there')
  }

  heal() {
    this.#hosts?.heal('here', 'there')
  }
}
