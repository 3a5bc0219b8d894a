import { BlockList, isIPv4 } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { SeaportError } from '../../core/errors.js'
import type { Address } from '../../core/holepunch.js'

/**
 * How far the direct path reaches: `off`, not at all; `lan`, loopback and private networks (RFC 1918);
 * `any`, public addresses too.
 */
export type DirectReach = (typeof DIRECT_REACHES)[number]

export const DIRECT_REACHES = ['off', 'lan', 'any'] as const

export interface DirectHostsOptions {
  reach: DirectReach
  /** The address that the DHT node binds; undefined or 0.0.0.0 for all. */
  host?: string | undefined
  interfaces?: NodeJS.Dict<NetworkInterfaceInfo[]>
}

/** As many as a record takes. */
export const MAX_DIRECT_ADDRESSES = 8
const ANY_HOST = '0.0.0.0'

const LOOPBACK_NET = subnets(['127.0.0.0', 8])
const PRIVATE_NETS = subnets(['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16])
/** "This network", link-local (with the metadata services of clouds), multicast and reserved. */
const NEVER_DIALED = subnets(['0.0.0.0', 8], ['169.254.0.0', 16], ['224.0.0.0', 3])

type Scope = 'loopback' | 'private' | 'public' | 'never'

/** Nearest first: they answer or refuse at once. */
const SCOPES: Scope[] = ['loopback', 'private', 'public']

/** @throws USAGE */
export function parseDirectReach(text: string): DirectReach {
  const reach = DIRECT_REACHES.find((reach) => reach === text)
  if (reach) return reach
  throw SeaportError.USAGE(`direct is off, lan or any, not ${JSON.stringify(text)}`)
}

/**
 * The addresses of this machine that a service listens on, the nearest first. What the DHT node is
 * bound to bounds it: one that is on loopback alone is not to be reached from elsewhere.
 */
export function directHosts({
  reach,
  host = ANY_HOST,
  interfaces = networkInterfaces()
}: DirectHostsOptions): string[] {
  const own = Object.values(interfaces).flatMap((infos = []) => infos.map(({ address }) => address))
  const bound = (address: string) =>
    host === ANY_HOST || address === host || scopeOf(address) === 'loopback'
  return within(reach, own, (address) => address)
    .filter(bound)
    .slice(0, MAX_DIRECT_ADDRESSES)
}

/**
 * The addresses of a record that a consumer may connect to, the nearest first. A record is a claim of
 * its owner: names are not resolved, and what is no host of a network is left out.
 */
export function dialableAddresses(reach: DirectReach, addresses: readonly string[]): Address[] {
  const parsed = [...new Set(addresses)].map(parseAddress).filter((address) => address !== null)
  return within(reach, parsed, ({ host }) => host).slice(0, MAX_DIRECT_ADDRESSES)
}

function within<T>(reach: DirectReach, items: T[], hostOf: (item: T) => string): T[] {
  const scopes = reach === 'off' ? [] : reach === 'lan' ? SCOPES.slice(0, 2) : SCOPES
  return scopes.flatMap((scope) => items.filter((item) => scopeOf(hostOf(item)) === scope))
}

function scopeOf(host: string): Scope {
  if (!isIPv4(host) || NEVER_DIALED.check(host)) return 'never'
  if (LOOPBACK_NET.check(host)) return 'loopback'
  return PRIVATE_NETS.check(host) ? 'private' : 'public'
}

function parseAddress(text: string): Address | null {
  const [, host, digits] = /^([\d.]+):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  return host && port >= 1 && port <= 65535 ? { host, port } : null
}

function subnets(...nets: [network: string, prefix: number][]): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of nets) list.addSubnet(network, prefix)
  return list
}
