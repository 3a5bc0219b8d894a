import type { Directory } from '../registry/replica/directory.js'
import type { AppRelease, AppStatement } from '../registry/trust/signed.js'
import { appViewOf, instancesOf, type KnownHost } from './fleet.js'
import type { HostReport } from './host-commands.js'
import type { InstanceStatus } from './hosted-instance.js'
import type { AppOutcome, Failure } from './outcome.js'
import { refusals } from './placement.js'

/** An instance as `app status` shows it. */
export interface AppInstanceView extends InstanceStatus {
  host: string
  hostName: string
  /** How long the host took to answer, in ms; null if it is not known. */
  latency: number | null
}

export interface AppStatus {
  statement: AppStatement
  /** The release that hosts run: the wanted one, or an earlier one if that has failed. */
  current: AppRelease
  /** Whether, by a host's verdict, as many instances of the wanted release as are wanted have passed. */
  isComplete: boolean
  /** Whether the wanted release was given up because it failed. */
  hasFailed: boolean
  /** Whether the command `before` of the wanted release has still to end well. */
  isPreparing: boolean
  /** Names of hosts that run it. */
  preparing: string[]
  /** Whether the current release may run: without its command `before` it may not. */
  mayRun: boolean
  /** Where the wanted release failed, and why. */
  failures: (Failure & { hostName: string })[]
  instances: AppInstanceView[]
  /** Instances of the current release that pass. */
  passing: number
  /** How many are wanted. */
  wanted: number
  /** Names of hosts that did not answer in time. */
  silent: string[]
  /** Why hosts have no place for the app, by their names. */
  refusals: Record<string, string>
}

/** The answer of a host, if it came in time. */
export interface HostAnswer {
  host: KnownHost
  report: HostReport | null
  /** How long the answer took, in ms. */
  latency: number | null
}

/** The instances of an app that hosts report. */
export function instancesIn(answers: readonly HostAnswer[], app: string): AppInstanceView[] {
  return answers.flatMap(({ host, report, latency }) =>
    (report?.instances ?? [])
      .filter((one) => one.app === app)
      .map((one) => ({ ...one, host: host.host, hostName: host.name, latency }))
  )
}

/** Names of hosts that run the command `before` of an app. */
function preparingIn(answers: readonly HostAnswer[], app: string): string[] {
  const having = answers.filter(({ report }) => report?.preparing?.includes(app))
  return having.map(({ host }) => host.name)
}

/** Whether a host says that it does not run an instance: a registrar that is gone could not note its end. */
function isDenied(answers: readonly HostAnswer[], key: string, instance: string): boolean {
  const report = answers.find(({ host }) => host.host === key)?.report
  return report ? !report.instances.some((one) => one.key === instance) : false
}

/** Why hosts may not start what must never run twice, by their names. */
function waitingIn(answers: readonly HostAnswer[], { place }: AppStatement): [string, string][] {
  if (!place.single) return []
  return answers.flatMap(({ host, report }) =>
    report?.waitsForSingles ? [[host.name, report.waitsForSingles] as [string, string]] : []
  )
}

/** Names of hosts that did not answer in time. */
export function silentIn(answers: readonly HostAnswer[]): string[] {
  return answers.filter(({ report }) => !report).map(({ host }) => host.name)
}

/**
 * Puts together what hosts say of an app, and what the directory says.
 *
 * @param isTold whether a host tells us of the app: it does not tell who may not deploy it there
 */
export function statusOf(
  statement: AppStatement,
  outcome: AppOutcome,
  answers: readonly HostAnswer[],
  directory: Directory,
  isTold: (host: KnownHost) => boolean
): AppStatus {
  const hosts = answers.map(({ host }) => host)
  const { current, wanted: asked } = outcome
  const instances = instancesIn(answers, statement.app)
  const telling = answers.filter(({ host }) => isTold(host))
  const passing = instancesOf(directory, statement).filter(
    ({ host, release, instance }) =>
      release === current.release &&
      instance.status === 'passing' &&
      !isDenied(telling, host, instance.servicePublicKey)
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
    isPreparing: outcome.isPreparing,
    preparing: preparingIn(answers, statement.app),
    mayRun: outcome.mayRun,
    failures: asked.isComplete
      ? []
      : asked.failures.map((one) => ({ ...one, hostName: nameOf(one.host) })),
    instances,
    passing,
    wanted: statement.state === 'running' && outcome.mayRun ? wanted : 0,
    silent: silentIn(answers),
    refusals: Object.fromEntries([
      ...waitingIn(answers, statement),
      ...[...refused].map(([key, why]) => [nameOf(key), why])
    ])
  }
}
