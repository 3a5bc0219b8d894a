import { type Directory, type Instance, tierOf } from '../registry/replica/directory.js'
import type { Replica } from '../registry/replica/replica.js'
import { HOST_ROLE, type Rights } from '../registry/trust/rights.js'
import { APP, type AppStatement, DRAIN, driverOf, recordOf } from '../registry/trust/signed.js'
import { type AppOutcome, failedOn, outcomeOf } from './outcome.js'
import type { AppView, HostView, InstanceView } from './placement-view.js'
import type { PlacerView } from './placer.js'
import type { Release } from './release.js'
import { verdictsOn } from './verdicts.js'

/** A host, as its record describes it. */
export interface KnownHost extends HostView {
  name: string
  /** `memory`, `pids` and `cpu`: what it limits for each instance; `users`: each app has one of its own. */
  abilities: readonly string[]
  instance: Instance
}

/** An instance of an app, as its record and the host's signature in it describe it. */
export interface KnownInstance {
  app: string
  host: string
  slot: number
  release: string
  instance: Instance
}

/** What the tags of a host's record say: its name, its labels, and its resources. */
export interface HostTraits {
  name: string
  labels: readonly string[]
  platform: string
  /** The memory for apps in bytes; 0 if it is not limited. */
  memory: number
  drivers: readonly string[]
  abilities: readonly string[]
}

const ALL = '*'

export function tagsOf({
  name,
  labels,
  platform,
  memory,
  drivers,
  abilities
}: HostTraits): string[] {
  return [
    `name=${name}`,
    `platform=${platform}`,
    `memory=${memory}`,
    ...drivers.map((driver) => `driver=${driver}`),
    ...(abilities.length > 0 ? [`can=${abilities.join()}`] : []),
    ...labels.map((label) => `label:${label}`)
  ]
}

/**
 * The listed hosts that have the right to run apps. It is checked here, because in an open registry anybody may
 * register under the role of hosts.
 */
export function hostsOf({ directory, statements, membership }: Replica): KnownHost[] {
  const instances = directory.resolve(HOST_ROLE, ALL, 'all')
  const apps = statements.list(APP)
  return instances
    .filter((one) => membership.grants.allows(one.servicePublicKey, { kind: 'host' }))
    .map((instance) => {
      const { servicePublicKey: host, tags, status } = instance
      const valuesOf = (name: string) =>
        tags.filter((tag) => tag.startsWith(name)).map((tag) => tag.slice(name.length))
      const labels = new Set(valuesOf('label:'))
      const declined = apps.filter((app) => isDeclined(app, labels, membership.grants))
      const entry = directory.entry(host)
      const declines = entry ? recordOf(entry).declines : []
      return {
        host,
        name: valuesOf('name=')[0] ?? host.slice(0, 8),
        labels,
        platform: valuesOf('platform=')[0] ?? '',
        abilities: valuesOf('can=')[0]?.split(',') ?? [],
        drivers: new Set(valuesOf('driver=')),
        memory: Number(valuesOf('memory=')[0]) || Infinity,
        isDraining: status === 'draining' || statements.get(DRAIN, host)?.isDraining === true,
        isStale: status === 'stale' || tierOf(instance) === 1,
        declines: new Set([...declined.map(({ app }) => app), ...(declines ?? [])]),
        instance
      }
    })
}

/** The listed instances of an app, of all releases that are kept. */
export function instancesOf(directory: Directory, app: AppStatement): KnownInstance[] {
  const versions = new Set([app.version, ...app.kept.map(({ version }) => version)])
  const found = directory.resolve(app.app, [...versions].join(' || '), 'all')
  return found.flatMap((instance) =>
    instance.app ? [{ app: app.app, ...instance.app, instance }] : []
  )
}

/**
 * What is wanted of an app, as placement takes it. If the wanted release has failed, that is the one before.
 *
 * @param release the document of the release that is to run, if it is known
 */
export function appViewOf(
  statement: AppStatement,
  outcome: AppOutcome,
  release: Release | undefined
): AppView {
  const { current, wanted } = outcome
  const { app, state, instances, place } = statement
  return {
    app,
    labels: place.labels,
    platforms: place.platforms ?? null,
    driver: driverOf(current),
    memory: place.memory,
    instances: state === 'running' && outcome.mayRun ? instances : 0,
    release: current.release,
    isComplete: current.isComplete,
    failedOn: outcome.failedOn,
    ...(state === 'running' &&
      outcome.isPreparing && {
        unprepared: {
          ...{ release: wanted.release, driver: driverOf(wanted) },
          failedOn: failedOn(wanted)
        }
      }),
    surge: release?.update.surge ?? 1,
    isSingle: place.single === true
  }
}

/** What a host knows now. Of its own instances it knows more than the directory. */
export function fleetOf(
  replica: Replica,
  own: { host: string; instances: readonly InstanceView[]; releases: Map<string, Release> },
  isSteady: (instance: KnownInstance, steady: number) => boolean
): PlacerView {
  const { directory, statements, registrars } = replica
  const apps = statements.list(APP).filter(({ state }) => state !== 'removed')
  const hosts = hostsOf(replica)
  const outcomes = new Map(
    apps.map((app) => [app.app, outcomeOf(app, verdictsOn(replica, app, hosts))])
  )
  const releaseOf = ({ app, release }: AppStatement) =>
    own.releases.get(outcomes.get(app)?.current.release ?? release)
  const others = apps.flatMap((app) => {
    const { steady = 0 } = releaseOf(app)?.update ?? {}
    return instancesOf(directory, app)
      .filter(({ host }) => host !== own.host)
      .map(
        (one): InstanceView => ({
          app: one.app,
          host: one.host,
          slot: one.slot,
          release: one.release,
          state: stateOf(one, isSteady(one, steady))
        })
      )
  })
  return {
    hosts,
    apps: apps.map((app) => appViewOf(app, outcomes.get(app.app) as AppOutcome, releaseOf(app))),
    instances: [...others, ...own.instances],
    isSynced: replica.isSynced,
    hasRegistrar: registrars.length > 0
  }
}

function stateOf({ instance }: KnownInstance, isSteady: boolean): InstanceView['state'] {
  if (instance.status === 'draining') return 'ending'
  if (instance.status === 'failing') return 'failing'
  return isSteady ? 'passing' : 'starting'
}

/**
 * Whether the deployer may deploy the app, but not on a host with these labels. If the deployer has lost the right
 * altogether, the app stays where it is.
 */
function isDeclined({ app, issuer }: AppStatement, labels: ReadonlySet<string>, rights: Rights) {
  const kind = 'deploy'
  return rights.allows(issuer, { kind, app }) && !rights.allows(issuer, { kind, app, labels })
}
