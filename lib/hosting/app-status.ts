import type { Directory } from '../registry/replica/directory.js'
import type { AppRelease, AppStatement } from '../registry/trust/app-statement.js'
import { appViewOf, instancesOf, type KnownHost } from './fleet.js'
import type { HostReport } from './host-commands.js'
import type { InstanceStatus } from './hosted-instance.js'
import type { AppOutcome, Failure } from './outcome.js'
import { refusals } from './placement.js'

/** An instance as `status` shows it. */
export interface AppInstanceView extends InstanceStatus {
  host: string
  hostName: string
  /** Of a ping to the host, in ms. */
  latency: number | null
}

export interface AppStatus {
  statement: AppStatement
  /** What hosts run: what is wanted, or the release before where that has failed. */
  current: AppRelease
  /** Whether as many instances of the wanted release as wanted have passed, by a host's word. */
  isComplete: boolean
  /** Whether the wanted release is given up, because it came to run nowhere. */
  hasFailed: boolean
  /** Where the wanted release failed, and why. */
  failures: (Failure & { hostName: string })[]
  instances: AppInstanceView[]
  /** Instances of the current release that pass. */
  passing: number
  /** How many are wanted. */
  wanted: number
  /** Names of hosts that did not answer in time. */
  silent: string[]
  /** Why hosts have no place for it, by their names. */
  refusals: Record<string, string>
}

/** What a host said, if it answered in time. */
export interface HostAnswer {
  host: KnownHost
  report: HostReport | null
  /** Of the answer, in ms. */
  latency: number | null
}

/** What hosts say that they run of an app. */
export function instancesIn(answers: readonly HostAnswer[], app: string): AppInstanceView[] {
  return answers.flatMap(({ host, report, latency }) =>
    (report?.instances ?? [])
      .filter((one) => one.app === app)
      .map((one) => ({ ...one, host: host.host, hostName: host.name, latency }))
  )
}

/** Names of hosts that did not answer in time. */
export function silentIn(answers: readonly HostAnswer[]): string[] {
  return answers.filter(({ report }) => !report).map(({ host }) => host.name)
}

/** Puts together what hosts say of an app, and what the directory says. */
export function statusOf(
  statement: AppStatement,
  outcome: AppOutcome,
  answers: readonly HostAnswer[],
  directory: Directory
): AppStatus {
  const hosts = answers.map(({ host }) => host)
  const { current, wanted: asked } = outcome
  const instances = instancesIn(answers, statement.app)
  const passing = instancesOf(directory, statement).filter(
    ({ release, instance }) => release === current.release && instance.status === 'passing'
  ).length
  const app = appViewOf(statement, outcome, undefined)
  const refused = refusals({ hosts, apps: [app], instances: [] }, app)
  const nameOf = (key: string) => hosts.find(({ host }) => host === key)?.name ?? key
  const wanted = statement.instances === 'all' ? hosts.length - refused.size : statement.instances
  return {
    statement,
    current: { version: current.version, release: current.release },
    isComplete: asked.isComplete,
    hasFailed: asked.hasFailed,
    failures: asked.isComplete
      ? []
      : asked.failures.map((one) => ({ ...one, hostName: nameOf(one.host) })),
    instances,
    passing,
    wanted: statement.state === 'running' ? wanted : 0,
    silent: silentIn(answers),
    refusals: Object.fromEntries([...refused].map(([key, why]) => [nameOf(key), why]))
  }
}
