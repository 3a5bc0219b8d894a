import { SeaportError } from '../core/errors.js'
import { hostnameOf, isOwnable } from '../core/hostname.js'
import { isPattern } from './domains.js'

const ANY = '*'

/**
 * Protects services that are open to everybody on loopback from pages of strangers. Such a page may have its own name
 * resolve to 127.0.0.1 once it is loaded (DNS rebinding). A browser then takes the service for a part of that page, and
 * lets it read answers; but the request still has the page's name in Host. Pages may also open WebSockets anywhere and
 * read them; there the browser names the page in Origin.
 *
 * So the name in Host or Origin has to be one that no stranger can own, or one that was allowed.
 */
export class HostGuard {
  readonly #allowed: readonly string[]

  /**
   * @param allowed hostnames, `*.` and a hostname for all names below it, or `*` for any
   * @throws USAGE
   */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = allowed.map(readPattern)
  }

  /** Whether the owner allowed this name. */
  allows(hostname: string): boolean {
    return this.#allowed.some(
      (pattern) =>
        pattern === ANY ||
        pattern === hostname ||
        (pattern.startsWith('*.') && hostname.endsWith(pattern.slice(1)))
    )
  }

  /** Whether requests for this name cannot come from a stranger's page. */
  isHarmless(hostname: string): boolean {
    return !isOwnable(hostname) || this.allows(hostname)
  }

  /** Whether a page of this origin may open WebSockets here, which browsers do not prevent by themselves. */
  isHarmlessOrigin(origin: string, host: string): boolean {
    if (!URL.canParse(origin)) return false
    const url = new URL(origin)
    // Pages that were opened from a file, even a downloaded one, have no host.
    return url.host !== '' && (url.host === host || this.isHarmless(hostnameOf(url.host)))
  }
}

function readPattern(text: string): string {
  const pattern = text.trim().toLowerCase()
  if (pattern === ANY || isPattern(pattern)) return pattern
  throw SeaportError.USAGE(
    `a host is given as in gateway.example.com, *.example.com, or * for any, not ${JSON.stringify(text)}`
  )
}
