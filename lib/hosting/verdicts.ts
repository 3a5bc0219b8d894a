import type { KeyPair } from '../core/keys.js'
import type { Replica } from '../registry/replica/replica.js'
import {
  type AppStatement,
  type Judgement,
  signVerdict,
  VERDICT,
  type Verdict
} from '../registry/trust/signed.js'
import { countedVerdicts } from './counted-verdicts.js'
import type { HostView } from './placement-view.js'
import { Ranks } from './ranks.js'

/** The order of hosts is kept, because it is asked for all the time. */
const ranksOf = new WeakMap<Replica, Ranks>()

/** The verdicts on an app that count: of hosts that have the right to run apps, and what `countedVerdicts` leaves of them. */
export function verdictsOn(
  replica: Replica,
  app: AppStatement,
  hosts: readonly HostView[]
): Verdict[] {
  const { statements, membership } = replica
  const verdicts = statements
    .list(VERDICT)
    .filter(
      ({ app: name, host }) => name === app.app && membership.grants.allows(host, { kind: 'host' })
    )
  if (verdicts.length === 0) return []
  const known = ranksOf.get(replica)
  const ranks = new Ranks(
    hosts.map(({ host }) => host),
    known
  )
  ranksOf.set(replica, ranks)
  return countedVerdicts(verdicts, { app, hosts, ranks, now: statements.dates.now })
}

/** The verdict of a host on a release; null if it has given none. */
export function saidOf(
  { statements }: Replica,
  { host, app, release }: { host: string; app: string; release: string }
): Judgement | null {
  const verdict = statements.get(VERDICT, `${app} ${host}`)
  return verdict?.judged.find((one) => one.release === release) ?? null
}

/**
 * Signs a verdict, and has it written.
 *
 * @throws the errors of `Replica.put`
 */
export async function say(
  replica: Replica,
  registry: Buffer,
  keyPair: KeyPair,
  app: string,
  judgement: Judgement
) {
  const host = keyPair.publicKey.toString('hex')
  const before = replica.statements.get(VERDICT, `${app} ${host}`)
  await replica.put(signVerdict(registry, keyPair, app, judgement, before))
}
