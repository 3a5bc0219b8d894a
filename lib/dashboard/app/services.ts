import type { Instance } from './feed.js'

/** All instances of one role, by version, the newest first. */
export interface Service {
  role: string
  versions: { version: string; instances: Instance[] }[]
  instances: Instance[]
  /** How many are as they should be. */
  healthy: number
}

export type Health = 'healthy' | 'failing' | 'draining' | 'stale'

const HEALTHS: Record<string, Health> = {
  failing: 'failing',
  draining: 'draining',
  stale: 'stale'
}

export function healthOf({ status, live }: Instance): Health {
  return HEALTHS[status] ?? (live ? 'healthy' : 'stale')
}

export const HEALTH_WORDS: Record<Health, string> = {
  healthy: 'healthy',
  failing: 'failing its check',
  draining: 'leaving',
  stale: 'no registrar vouches for it now'
}

/** Groups instances, keeping those whose role, version, key, tags or health have all the words. */
export function servicesOf(instances: Iterable<Instance>, search: string): Service[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const roles = new Map<string, Instance[]>()
  for (const instance of instances) {
    if (!matches(instance, words)) continue
    const known = roles.get(instance.role)
    if (known) known.push(instance)
    else roles.set(instance.role, [instance])
  }
  return [...roles.entries()]
    .map(([role, instances]) => toService(role, instances))
    .sort((a, b) => (a.role < b.role ? -1 : 1))
}

/** By precedence, the higher first (semver §11, as far as sorting for people needs it). */
export function byVersion(a: string, b: string): number {
  const [aCore = '', aPre] = a.split(/-(.*)/s)
  const [bCore = '', bPre] = b.split(/-(.*)/s)
  const collate = (x: string, y: string) => y.localeCompare(x, 'en', { numeric: true })
  if (aCore !== bCore) return collate(aCore, bCore)
  if (aPre === undefined || bPre === undefined) return aPre === bPre ? 0 : aPre ? 1 : -1
  return collate(aPre, bPre)
}

/** What a consumer would ask for to get this version and what is compatible with it. */
export function rangeOf(version: string): string {
  return version.includes('-') ? version : `^${version}`
}

function toService(role: string, instances: Instance[]): Service {
  const byNumber = new Map<string, Instance[]>()
  for (const instance of instances) {
    const known = byNumber.get(instance.version)
    if (known) known.push(instance)
    else byNumber.set(instance.version, [instance])
  }
  const versions = [...byNumber]
    .map(([version, instances]) => ({ version, instances: instances.sort(byKey) }))
    .sort((a, b) => byVersion(a.version, b.version))
  const healthy = instances.filter((instance) => healthOf(instance) === 'healthy').length
  return { role, versions, instances: versions.flatMap(({ instances }) => instances), healthy }
}

function matches(instance: Instance, words: string[]): boolean {
  const { role, version, key, tags } = instance
  const text = `${role}@${version} ${key} ${tags.join(' ')} ${healthOf(instance)}`.toLowerCase()
  return words.every((word) => text.includes(word))
}

function byKey(a: Instance, b: Instance): number {
  return a.key < b.key ? -1 : 1
}
