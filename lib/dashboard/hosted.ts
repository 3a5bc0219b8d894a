import { rangeOf } from '../gateway/app-hostnames.js'
import { type Instance, tierOf } from '../registry/replica/directory.js'
import type { Replica } from '../registry/replica/replica.js'
import { HOST_ROLE } from '../registry/trust/rights.js'
import { APP, type AppStatement, DRAIN, ownersOf } from '../registry/trust/signed.js'

/** An app as the dashboard shows it: what is wanted of it, and what hosts have registered. */
export interface ShownApp {
  app: string
  version: string
  state: AppStatement['state']
  wanted: AppStatement['instances']
  hostnames: string[]
  instances: { key: string; host: string; slot: number; version: string; status: string }[]
}

/** A machine that may run apps, as the dashboard shows it. */
export interface ShownHost {
  key: string
  name: string
  state: 'ready' | 'draining' | 'stale'
  labels: string[]
}

export interface Hosted {
  apps: ShownApp[]
  hosts: ShownHost[]
}

const NAME = 'name='
const LABEL = 'label:'

/** What a registry says of apps and of the hosts that have the right to run them. */
export function hostedBy({ directory, statements, membership }: Replica): Hosted {
  const all = statements.list(APP).filter(({ state }) => state !== 'removed')
  const owners = ownersOf(all)
  const hosts = directory
    .resolve(HOST_ROLE, '*', 'all')
    .filter(({ servicePublicKey: key }) => membership.grants.allows(key, { kind: 'host' }))
  return {
    apps: all.map((statement) => {
      const { app, version, state, instances: wanted, hostnames } = statement
      return {
        ...{ app, version, state, wanted },
        hostnames: Object.keys(hostnames).filter((name) => owners.get(name) === app),
        instances: directory.resolve(app, rangeOf(statement), 'all').flatMap((instance) => {
          const { servicePublicKey: key, version, status, app: place } = instance
          return place ? [{ key, host: place.host, slot: place.slot, version, status }] : []
        })
      }
    }),
    hosts: hosts.map((instance) => {
      const { servicePublicKey: key, tags } = instance
      const isDraining = statements.get(DRAIN, key)?.isDraining === true
      return {
        key,
        name: valuesOf(tags, NAME)[0] ?? key.slice(0, 8),
        state: isDraining ? 'draining' : stateOf(instance),
        labels: valuesOf(tags, LABEL)
      }
    })
  }
}

function stateOf(instance: Instance): ShownHost['state'] {
  if (instance.status === 'draining') return 'draining'
  return instance.status === 'stale' || tierOf(instance) === 1 ? 'stale' : 'ready'
}

function valuesOf(tags: readonly string[], name: string): string[] {
  return tags.filter((tag) => tag.startsWith(name)).map((tag) => tag.slice(name.length))
}
