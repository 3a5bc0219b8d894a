import { BlockList, isIP } from 'node:net'
import { SeaportError } from '../core/errors.js'

const BITS = { ipv4: 32, ipv6: 128 } as const

/**
 * The proxies in front of the gateway whose forwarding fields are trusted: those on loopback, and those that were
 * named.
 */
export class TrustedProxies {
  readonly #addresses = new BlockList()

  /**
   * @param texts addresses, as in `10.0.0.7` or `10.0.0.0/8`
   * @throws USAGE
   */
  constructor(texts: readonly string[] = []) {
    for (const text of ['127.0.0.0/8', '::1', ...texts]) this.#add(text.trim())
  }

  /** Whether an address is one of them. */
  has(address: string): boolean {
    const [plain = ''] = address.split('%')
    const family = familyOf(plain)
    return family !== null && this.#addresses.check(plain, family)
  }

  #add(text: string) {
    const [, address = '', prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
    const family = familyOf(address)
    const bits = family === null ? 0 : BITS[family]
    if (family === null || Number(prefix ?? bits) > bits) {
      throw SeaportError.USAGE(
        `a trusted proxy is given as in 10.0.0.7, 10.0.0.0/8 or fd00::/8, not ${JSON.stringify(text)}`
      )
    }
    this.#addresses.addSubnet(address, Number(prefix ?? bits), family)
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' | null {
  if (address.includes('%')) return null
  const version = isIP(address)
  return version === 0 ? null : version === 4 ? 'ipv4' : 'ipv6'
}
