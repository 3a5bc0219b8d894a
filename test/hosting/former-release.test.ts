import t from 'tap'
import { formerRelease } from '../../lib/hosting/former-release.js'
import type { ReleaseOutcome } from '../../lib/hosting/outcome.js'

t.test(
  'a rollback goes to the last release that did not fail, or to the last of a version',
  (t) => {
    const former = [outcome('2.0.0', 'c', 'no port'), outcome('1.0.0', 'b'), outcome('1.0.0', 'a')]
    t.match(formerRelease('shop', former), { version: '1.0.0', release: 'b' })
    t.match(formerRelease('shop', former, '1.0.0'), { release: 'b' })
    t.throws(() => formerRelease('shop', former, '2.0.0'), {
      code: 'CHECK_FAILED',
      message: /no port.* one of 1\.0\.0, 1\.0\.0/
    })
    t.throws(() => formerRelease('shop', former, '3.0.0'), {
      code: 'NOT_FOUND',
      message: /3\.0\.0/
    })
    const by = { seq: 2, issuer: '', issuedAt: 1 }
    const overruled = { hash: '', seq: 2, issuer: '', issuedAt: 1, state: 'running', by } as const
    const lost = { version: '4.0.0', release: 'd', instances: 1 }
    const unkept = { ...outcome('4.0.0', 'd'), overruled: { ...overruled, ...lost } }
    t.throws(() => formerRelease('shop', [unkept], '4.0.0'), { code: 'NOT_FOUND' })
    t.throws(() => formerRelease('shop', []), { code: 'NOT_FOUND', message: /there are none/ })
    t.end()
  }
)

function outcome(version: string, release: string, why?: string): ReleaseOutcome {
  const failures = why === undefined ? [] : [{ host: 'h', at: 1, why }]
  const hasFailed = failures.length > 0
  return { version, release, isComplete: false, failures, isPrepared: true, hasFailed }
}
