import type { KeyPair } from '../core/keys.js'
import type { Replica } from '../registry/replica/replica.js'
import {
  type AppStatement,
  type Judgement,
  signVerdict,
  VERDICT,
  type Verdict
} from '../registry/trust/signed.js'
import type { HostView } from './placement-view.js'

/**
 * The verdicts on an app that count. They are those of hosts that have the right to run apps and, if they are listed,
 * meet the app's needs. The verdict of a host that is gone still counts.
 */
export function verdictsOn(
  { statements, membership }: Replica,
  { app, place }: AppStatement,
  hosts: readonly HostView[]
): Verdict[] {
  return statements.list(VERDICT).filter((verdict) => {
    if (verdict.app !== app) return false
    if (!membership.grants.allows(verdict.host, { kind: 'host' })) return false
    const listed = hosts.find(({ host }) => host === verdict.host)
    return !listed || place.labels.every((label) => listed.labels.has(label))
  })
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
