import { SeaportError } from '../core/errors.js'
import { parseKey, toHex } from '../core/keys.js'
import { isRoleName, parseRoleRange, type RoleRange } from '../core/role.js'
import type { AppHostnames } from './app-hostnames.js'

/** A host that leads to a role. */
export interface DomainOptions {
  /** A hostname as in `api.example.com`, or `*.example.com` for all below it. */
  host: string
  /** The role that it leads to, as in `api@^2`. */
  role: string
}

/** Services that may claim a host by a tag `hostname=<host>`. */
export interface HostnameOptions {
  /** A hostname as in `www.example.com`, or `*.example.com` for all below it. */
  host: string
  /** The public keys of the services that may claim it. */
  services: (string | Buffer)[]
}

/** Hosts that are led to the apps which claim them. */
export interface AppDomainOptions {
  /** A hostname as in `shop.example.com`, or `*.example.com` for all below it. */
  host: string
  /** The only app that may claim them. Default: any. */
  app?: string | undefined
}

/** A rule that says where a hostname leads. */
export type DomainRule =
  /** All instances of a role. */
  | { pattern: string; role: RoleRange }
  /** The instances, among these, that claim the hostname by the tag `hostname=<name>`. */
  | { pattern: string; keys: ReadonlySet<string> }
  /** The app that claims the hostname; with `only`, no other app may. */
  | { pattern: string; apps: AppHostnames; only: string | null }

/** A hostname, or `*.` and one for all names below it. */
const PATTERN = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/

/** The rules by hostname. An exact name wins over a wildcard, and a longer wildcard over a shorter one. */
export class DomainTable {
  readonly #exact = new Map<string, DomainRule[]>()
  readonly #wildcards: [suffix: string, rule: DomainRule][] = []

  constructor(rules: readonly DomainRule[] = []) {
    for (const rule of rules) {
      if (rule.pattern.startsWith('*.')) this.#wildcards.push([rule.pattern.slice(1), rule])
      else this.#exact.set(rule.pattern, [...(this.#exact.get(rule.pattern) ?? []), rule])
    }
    this.#wildcards.sort(([a], [b]) => b.length - a.length)
  }

  get isEmpty(): boolean {
    return this.#exact.size === 0 && this.#wildcards.length === 0
  }

  /** The rules for a name, the closest first. */
  match(host: string): DomainRule[] {
    const wild = this.#wildcards.filter(([suffix]) => host.endsWith(suffix)).map(([, rule]) => rule)
    return [...(this.#exact.get(host) ?? []), ...wild]
  }
}

/** @throws USAGE, BAD_ROLE */
export function readDomain({ host, role }: DomainOptions): DomainRule {
  return { pattern: readHost(host), role: parseRoleRange(role) }
}

/** @throws USAGE, BAD_KEY */
export function readHostname({ host, services }: HostnameOptions): DomainRule {
  if (!Array.isArray(services)) {
    throw SeaportError.USAGE(`who may claim ${host} is said by services, a list of their keys`)
  }
  const keys = new Set(services.map((key) => toHex(parseKey(key, 'service key'))))
  return { pattern: readHost(host), keys }
}

/** @throws USAGE, BAD_ROLE */
export function readAppDomain({ host, app }: AppDomainOptions, apps: AppHostnames): DomainRule {
  if (app !== undefined && !isRoleName(app)) {
    throw SeaportError.BAD_ROLE(
      `an app is named as in shop or @team/api, not ${JSON.stringify(app)}`
    )
  }
  return { pattern: readHost(host), apps, only: app ?? null }
}

/** Whether a text is a hostname, or `*.` and a hostname. */
export function isPattern(text: string): boolean {
  return PATTERN.test(text)
}

function readHost(text: string): string {
  const pattern = typeof text === 'string' ? text.trim().toLowerCase() : ''
  if (isPattern(pattern)) return pattern
  throw SeaportError.USAGE(
    `a host is given as in api.example.com or *.example.com, not ${JSON.stringify(text)}`
  )
}
