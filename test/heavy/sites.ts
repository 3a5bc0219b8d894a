import { resolve } from 'node:path'
import type { Test } from 'tap'
import { Cli } from '../bin/cli.js'
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
  /** What the nodes of the DHT take as `bootstrap`. */
  readonly bootstrap: string
  readonly #hosts: Hosts | null

  static async make(t: Test): Promise<Sites> {
    const cli = new Cli(t)
    if (noHosts) return new Sites(null, { here: [], there: [] }, await cli.island())
    const hosts = new Hosts(t)
    const here = hosts.add('here', ADDRESSES.here)
    const there = hosts.add('there', ADDRESSES.there)
    const first = cli.start(['bootstrap', '--host', ADDRESSES.here], { at: here })
    const known = await first.waitForLine('bootstrap=')
    const second = cli.start([known, ADDRESSES.there], { at: there, program: DHT_NODE })
    await second.waitForLine('ready')
    return new Sites(hosts, { here, there }, `${known},${ADDRESSES.there}:${PORT}`)
  }

  private constructor(hosts: Hosts | null, at: Sites['at'], bootstrap: string) {
    this.#hosts = hosts
    this.at = at
    this.bootstrap = bootstrap
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
