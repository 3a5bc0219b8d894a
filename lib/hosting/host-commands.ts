import { SeaportError } from '../core/errors.js'
import { isExactVersion, isRoleName } from '../core/role.js'
import type { CallContext } from '../messaging/call-context.js'
import type { CommandMap } from '../messaging/commands.js'
import type { Rights } from '../registry/trust/rights.js'
import type { InstanceState } from './app-instance.js'
import { isTime } from './app-log.js'
import { isHash } from './bundle/chunk.js'
import type { HostAgent } from './host-agent.js'
import type { HostFolder } from './host-folder.js'
import type { InstanceStatus } from './hosted-instance.js'
import { linesOf } from './log-lines.js'
import type { Release } from './release.js'

export interface HostReport {
  waitsFor: string | null
  /** Why what must never run twice may not be started here; null if it may, and absent from earlier builds. */
  waitsForSingles?: string | null
  instances: InstanceStatus[]
  /** The apps whose command `before` runs here. */
  preparing: string[]
}

const STATES: readonly unknown[] = [
  'starting',
  'passing',
  'failing',
  'ending',
  'ended'
] satisfies InstanceState[]

/** Whether what a host answered is a report, so that one host that errs breaks no status. */
export function isHostReport(value: unknown): value is HostReport {
  const { waitsFor, waitsForSingles = null, instances, preparing = [] } = Object(value)
  const isReason = (text: unknown) => text === null || typeof text === 'string'
  return (
    isReason(waitsFor) &&
    isReason(waitsForSingles) &&
    Array.isArray(instances) &&
    instances.every(isInstanceStatus) &&
    Array.isArray(preparing) &&
    preparing.every(isRoleName)
  )
}

function isInstanceStatus(value: unknown): value is InstanceStatus {
  const { app, slot, hash, createdAt, version, key, state, reason } = Object(value)
  return (
    isRoleName(app) &&
    Number.isSafeInteger(slot) &&
    isHash(hash) &&
    isTime(createdAt) &&
    isExactVersion(version) &&
    (key === '' || isHash(key)) &&
    STATES.includes(state) &&
    (reason === null || typeof reason === 'string')
  )
}

/**
 * The commands of a host. In an open registry anybody may call them, so each checks by itself whether the caller may
 * deploy the app on a host with these labels. No right to consume or to call is enough.
 */
export function hostCommands(
  agent: HostAgent,
  folder: HostFolder,
  rights: Rights,
  labels: ReadonlySet<string>
): CommandMap {
  const mayDeploy = (peer: string, app: string) =>
    rights.allows(peer, { kind: 'deploy', app, labels })
  const check = (data: unknown, { peer }: CallContext): string => {
    const { app } = Object(data)
    if (!isRoleName(app)) throw SeaportError.USAGE('which app?')
    if (mayDeploy(peer, app)) return app
    throw SeaportError.NOT_GRANTED(
      `${peer} may not deploy ${app} here; whoever runs the registry can have it so: hyperseaport grant ${peer} --deploy ${app}`
    )
  }
  return {
    /** Fetches a release, from the caller or from others that have it. */
    fetch: async (data, context) => {
      const app = check(data, context)
      const { version } = await agent.fetch(hashIn(data), { app, pusher: context.peer })
      return { version }
    },
    status: {
      idempotent: true,
      handler: (_data, { peer }): HostReport => ({
        waitsFor: agent.waitsFor,
        waitsForSingles: agent.waitsForSingles,
        instances: agent.instances.filter(({ app }) => mayDeploy(peer, app)),
        preparing: agent.preparing.filter((app) => mayDeploy(peer, app))
      })
    },
    release: {
      idempotent: true,
      handler: async (data, context): Promise<Release | null> => {
        const app = check(data, context)
        const release = await folder.release(hashIn(data))
        return release?.app === app ? release : null
      }
    },
    logs: (data, context) => {
      const app = check(data, context)
      return linesOf(agent, app, { ...Object(data) }, context.signal)
    }
  }
}

function hashIn(data: unknown): string {
  const { release } = Object(data)
  if (isHash(release)) return release
  throw SeaportError.USAGE('which release? Its hash is 64 hex digits')
}
