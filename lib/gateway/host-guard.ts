import { SeaportError } from '../core/errors.js'
import { hostnameOf, isOwnable } from '../core/hostname.js'
import { isPattern } from './domains.js'

const ANY = '*'

/**
 * Keeps pages of strangers from services that are open only because they are on loopback. A stranger's page may
 * have its own name lead to 127.0.0.1 once it is loaded (DNS rebinding); a browser takes what is there for the
 * page's own then, and lets it read. But it says in Host which name that was. And a page may open
 * WebSockets anywhere, and read them; there the browser says in Origin whose page it is.
 *
 * So the name has to be one that no stranger can own, or one that was allowed.
 */
export class HostGuard {
  readonly #allowed: readonly string[]

  /**
   * @param allowed names, `*.` and one for all below it, or `*` for any
   * @throws USAGE
   */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = allowed.map(readPattern)
  }

  /** Whether it was said that the gateway is called so. */
  allows(hostname: string): boolean {
    return this.#allowed.some(
      (pattern) =>
        pattern === ANY ||
        pattern === hostname ||
        (pattern.startsWith('*.') && hostname.endsWith(pattern.slice(1)))
    )
  }

  /** Whether a request for this name may come from anywhere but a stranger's page. */
  isHarmless(hostname: string): boolean {
    return !isOwnable(hostname) || this.allows(hostname)
  }

  /** Whether a page of this origin may read what it asks for, although browsers do not keep it from that. */
  isHarmlessOrigin(origin: string, host: string): boolean {
    if (!URL.canParse(origin)) return false
    const url = new URL(origin)
    // Pages of files, downloaded ones too, have none.
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
