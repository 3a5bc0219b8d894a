import t from 'tap'
import { countedVerdicts } from '../../lib/hosting/counted-verdicts.js'
import { outcomeOf } from '../../lib/hosting/outcome.js'
import type { HostView } from '../../lib/hosting/placement-view.js'
import { Ranks } from '../../lib/hosting/ranks.js'
import type { AppStatement, Judgement, Verdict } from '../../lib/registry/trust/signed.js'
import { aHost } from './fleet.js'

const NOW = 1_000_000
const WANTED = { version: '2.0.0', release: 'b'.repeat(64) }
const FORMER = { version: '1.0.0', release: 'a'.repeat(64) }

/** An app of which one instance is wanted, and hosts, the best first. */
function aScene(
  count: number,
  fields: Partial<HostView> = {},
  { driver = 'process', kept = [FORMER] }: { driver?: string; kept?: AppStatement['kept'] } = {}
) {
  const app = {
    ...{ app: 'shop', instances: 1, ...WANTED, kept, issuedAt: NOW },
    place: { labels: [], memory: 0, driver }
  } as unknown as AppStatement
  const all = Array.from({ length: count }, () => aHost(fields))
  const ranks = new Ranks(all.map(({ host }) => host))
  const hosts = ranks.of('shop').map(({ host }) => all.find((one) => one.host === host) as HostView)
  const outcome = (verdicts: Verdict[], now = NOW) =>
    outcomeOf(app, countedVerdicts(verdicts, { app, hosts, ranks, now })).current.version
  return { hosts, outcome }
}

function failedOn(host: HostView | undefined, fields: Partial<Judgement> = {}): Verdict {
  const judged = [
    { release: WANTED.release, outcome: 'failed', isLast: false, at: NOW, why: '', ...fields }
  ]
  return { app: 'shop', host: host?.host ?? 'gone', judged } as unknown as Verdict
}

t.test(
  'a release goes back when it failed on two hosts that placement chose, and no others',
  async (t) => {
    const { hosts, outcome } = aScene(8)
    t.equal(outcome([failedOn(hosts[0])]), '2.0.0')
    t.equal(outcome([failedOn(hosts[0]), failedOn(hosts[1])]), '1.0.0')
    t.equal(outcome([failedOn(hosts[7])]), '2.0.0')
    t.equal(outcome([failedOn(hosts[6]), failedOn(hosts[7])]), '2.0.0', 'both were not chosen')
    t.equal(outcome([failedOn(hosts[7], { outcome: 'unprepared' })]), '2.0.0')
    t.equal(outcome([failedOn(hosts[0], { outcome: 'unprepared' })]), '1.0.0')
  }
)

t.test(
  'that a host is the last one that could try it counts only if no other is seen',
  async (t) => {
    const { hosts, outcome } = aScene(2)
    t.equal(outcome([failedOn(hosts[0], { isLast: true })]), '2.0.0')
    t.equal(outcome([failedOn(hosts[0], { isLast: true })], NOW + 60_000), '1.0.0', 'or later')
    t.equal(outcome([failedOn(hosts[0], { isLast: true, at: 0 })]), '2.0.0', 'whatever date it has')
    const alone = aScene(1)
    t.equal(alone.outcome([failedOn(alone.hosts[0], { isLast: true })]), '1.0.0')
    const draining = aScene(2)
    Object.assign(draining.hosts[1] ?? {}, { isDraining: true })
    t.equal(draining.outcome([failedOn(draining.hosts[0], { isLast: true })]), '1.0.0')
  }
)

t.test(
  'a host that may not have the app says nothing of it, and one that is gone still counts',
  async (t) => {
    const { hosts, outcome } = aScene(3)
    Object.assign(hosts[0] ?? {}, { drivers: new Set(['other']) })
    t.equal(outcome([failedOn(hosts[0]), failedOn(hosts[1])]), '2.0.0')
    t.equal(outcome([failedOn(undefined), failedOn(hosts[1])]), '1.0.0')
  }
)

t.test(
  'where releases differ in what runs them, a host is heard of those that it may have',
  async (t) => {
    const former = { ...FORMER, before: true as const }
    const { hosts, outcome } = aScene(3, {}, { driver: 'bubblewrap', kept: [former] })
    for (const one of hosts.slice(1)) Object.assign(one, { drivers: new Set(['bubblewrap']) })
    const [isLast, isPrepared] = [true, true as const]
    const failed = failedOn(hosts[1], { isLast, outcome: 'unprepared' })
    const prepared = failedOn(hosts[0], {
      release: FORMER.release,
      outcome: 'prepared',
      isPrepared
    })
    t.equal(
      outcome([failed, prepared]),
      '1.0.0',
      'it was prepared by one that cannot have the next'
    )
    t.equal(outcome([failedOn(hosts[0], { isLast, outcome: 'unprepared' }), prepared]), '2.0.0')
  }
)
