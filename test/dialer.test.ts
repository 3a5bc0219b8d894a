import { type Duplex, PassThrough } from 'node:stream'
import t from 'tap'
import { type Candidate, Dialer, type DialerOptions } from '../lib/dialer.js'
import { SeaportError } from '../lib/errors.js'
import { toHex } from '../lib/keys.js'
import type { OpenOptions } from '../lib/link/link.js'

t.test('a dial opens a stream to the newest instance', async (t) => {
  const { dialer, tried } = dial({ candidates: ['new@2.0.0', 'old@1.0.0'] })
  t.ok(await dialer.dial())
  t.same(tried, ['new'])
  t.same(dialer.stats, { dialed: 1, failedAttempts: 0, overtaken: 0, failed: 0 })
})

t.test('instances of the same version take turns, if so wanted', async (t) => {
  const { dialer, tried } = dial({
    candidates: ['a@2.0.0', 'b@2.0.0', 'c@1.0.0'],
    mode: 'round-robin'
  })
  for (let i = 0; i < 4; i++) await dialer.dial()
  t.same(tried, ['a', 'b', 'a', 'b'])
})

t.test('an instance that refuses or does not answer is passed over', async (t) => {
  const answers = {
    refusing: SeaportError.BACKEND_UNREACHABLE('nothing listens there'),
    silent: SeaportError.OPEN_TIMEOUT('no answer'),
    gone: SeaportError.LINK_LOST('gone')
  }
  const candidates = ['refusing@3.0.0', 'silent@2.0.0', 'gone@1.1.0', 'good@1.0.0']
  const { dialer, tried } = dial({ candidates, answers })
  t.ok(await dialer.dial())
  t.same(tried, ['refusing', 'silent', 'gone', 'good'])
  t.same(dialer.stats, { dialed: 1, failedAttempts: 3, overtaken: 0, failed: 0 })
})

t.test('when all have failed the error says what became of each', async (t) => {
  const answers = {
    one: SeaportError.NOT_ALLOWED('the service does not let you in'),
    two: SeaportError.BACKEND_UNREACHABLE('nothing listens on 127.0.0.1:1')
  }
  const { dialer, tried } = dial({ candidates: ['one@1.1.0', 'two@1.0.0'], answers })
  await t.rejects(dialer.dial(), {
    code: 'NO_INSTANCE',
    message:
      /api@1\.x.*api@1\.1\.0 .*NOT_ALLOWED.*api@1\.0\.0 .*BACKEND_UNREACHABLE: nothing listens/,
    cause: answers.two
  })
  t.same(tried, ['one', 'two'], 'and none was tried twice')
})

t.test('with nobody there the error says so', async (t) => {
  const { dialer } = dial({ candidates: [] })
  await t.rejects(dialer.dial(), { code: 'NO_INSTANCE', message: /nobody serves api@1\.x/ })
})

t.test('what appears between two dials is found', async (t) => {
  const candidates: string[] = []
  const { dialer, tried } = dial({ candidates })
  await t.rejects(dialer.dial(), { code: 'NO_INSTANCE' })
  candidates.push('late@1.0.0')
  await dialer.dial()
  t.same(tried, ['late'])
})

t.test('an instance whose link is silent is tried last', async (t) => {
  const { dialer, tried } = dial({
    candidates: ['silent@2.0.0', 'good@1.0.0'],
    suspects: ['silent'],
    mode: 'first'
  })
  await dialer.dial()
  t.same(tried, ['good'])
})

t.test('who hangs up ends the dial, and nobody else is tried', async (t) => {
  const hangUp = new AbortController()
  const { dialer, tried } = dial({
    candidates: ['slow@1.1.0', 'other@1.0.0'],
    answers: { slow: 'never' },
    onopen: () => hangUp.abort(new Error('hung up'))
  })
  await t.rejects(dialer.dial({ signal: hangUp.signal }), { message: 'hung up' })
  await t.rejects(dialer.dial({ signal: hangUp.signal }), { message: 'hung up' })
  t.same(tried, ['slow'])
  t.equal(dialer.stats.failed, 0, 'and that is nobody’s failure')
})

t.test('a dial does not go on for ever, however many instances there are', async (t) => {
  const answers = { slow: SeaportError.OPEN_TIMEOUT('no answer') }
  const { dialer, tried } = dial({
    candidates: ['slow@1.1.0', 'other@1.0.0'],
    answers,
    dialTimeout: -1
  })
  await t.rejects(dialer.dial(), { code: 'NO_INSTANCE' })
  t.same(tried, ['slow'])
})

interface Setting
  extends Partial<
    Pick<DialerOptions, 'mode' | 'dialTimeout' | 'hedgeAfter' | 'experience' | 'consumerKey'>
  > {
  /** `name@version`, best first. */
  candidates: string[]
  /** What those answer who do not take the stream. */
  answers?: Record<string, SeaportError | 'never' | Promise<void>>
  suspects?: string[]
  /** Those with a link. */
  linked?: Set<string>
  onopen?: (name: string) => void
}

/** A dialer over a pool of the test's own. */
function dial({ candidates, answers = {}, suspects = [], linked, onopen, ...options }: Setting) {
  const tried: string[] = []
  const aborted: string[] = []
  const pool: DialerOptions['pool'] = {
    isSuspect: (key) => suspects.includes(nameOf(key)),
    pathOf: (key) => (linked?.has(nameOf(key)) ? { kind: 'dht', rtt: 1 } : null),
    open: async (key, { signal }: OpenOptions = {}): Promise<Duplex> => {
      const name = nameOf(key)
      tried.push(name)
      const answer = answers[name]
      onopen?.(name)
      if (answer instanceof SeaportError) throw answer
      if (answer !== 'never') {
        await answer
        return new PassThrough()
      }
      const alive = setInterval(() => {}, 60_000)
      return new Promise((_, reject) => {
        const onabort = () => {
          clearInterval(alive)
          aborted.push(name)
          reject(signal?.reason)
        }
        if (signal?.aborted) onabort()
        else signal?.addEventListener('abort', onabort)
      })
    }
  }
  const resolve = () => candidates.map(toCandidate)
  return { dialer: new Dialer({ role: 'api@1.x', resolve, pool, ...options }), tried, aborted }
}

function toCandidate(text: string): Candidate {
  const [name = '', version = ''] = text.split('@')
  return { servicePublicKey: toHex(Buffer.from(name)), role: 'api', version }
}

function nameOf(key: Buffer): string {
  return key.toString()
}
