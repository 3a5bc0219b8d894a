import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { toHex } from '../../lib/core/keys.js'
import type { BalanceMode } from '../../lib/dialing/balancer.js'
import { type Candidate, Dialer, type DialerOptions } from '../../lib/dialing/dialer.js'
import { InstanceStats } from '../../lib/dialing/instance-stats.js'
import type { OpenOptions } from '../../lib/link/link.js'
import type { LinkStream } from '../../lib/link/stream.js'
import { idleStream } from '../link/pair.js'

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

t.test('the mode may change while it is in use, to one that there is', async (t) => {
  const { dialer, tried } = dial({ candidates: ['a@1.0.0', 'b@1.0.0'], mode: 'first' })
  await dialer.dial()
  await dialer.dial()
  t.throws(() => dialer.setMode('best' as BalanceMode), { code: 'USAGE' })
  t.equal(dialer.mode, 'first')
  dialer.setMode('round-robin')
  for (let i = 0; i < 2; i++) await dialer.dial()
  t.same([tried.slice(0, 2), new Set(tried.slice(2))], [['a', 'a'], new Set(['a', 'b'])])
})

t.test('who does not answer soon is raced with the next, and reset if it loses', async (t) => {
  const { dialer, tried, aborted } = dial({
    candidates: ['silent@2.0.0', 'mute@1.1.0', 'good@1.0.0'],
    answers: { silent: 'never', mute: 'never' },
    hedgeAfter: 5
  })
  t.ok(await dialer.dial())
  t.same(tried, ['silent', 'mute', 'good'])
  t.same(aborted, ['silent', 'mute'])
  await new Promise(setImmediate)
  t.same(dialer.stats, { dialed: 1, failedAttempts: 0, overtaken: 2, failed: 0 })
})

t.test('who answers first wins, and that may be who was tried first', async (t) => {
  let answer = () => {}
  const { dialer, tried, aborted } = dial({
    candidates: ['slow@2.0.0', 'silent@1.0.0'],
    answers: { slow: new Promise<void>((resolve) => (answer = resolve)), silent: 'never' },
    onopen: (name) => {
      if (name === 'silent') answer()
    },
    hedgeAfter: 5
  })
  t.ok(await dialer.dial())
  t.same(tried, ['slow', 'silent'])
  t.same(aborted, ['silent'])
})

t.test('what keeps failing is left out for a while, then tried by one dial', async (t) => {
  let now = 0
  const { dialer, tried } = dial({
    candidates: ['bad@2.0.0', 'good@1.0.0'],
    answers: { bad: SeaportError.BACKEND_UNREACHABLE('nothing listens there') },
    instanceStats: new InstanceStats({ now: () => now, random: () => 0.5 })
  })
  for (let i = 0; i < 5; i++) await dialer.dial()
  t.equal(tried.filter((name) => name === 'bad').length, 3)
  now = 1000
  tried.length = 0
  await Promise.all([dialer.dial(), dialer.dial(), dialer.dial()])
  t.equal(tried.filter((name) => name === 'bad').length, 1)
})

t.test('when all are ejected, all are tried', async (t) => {
  const failure = SeaportError.BACKEND_UNREACHABLE('nothing listens there')
  const answers: Record<string, SeaportError> = { one: failure, two: failure }
  const { dialer, tried } = dial({ candidates: ['one@1.0.0', 'two@1.0.0'], answers })
  for (let i = 0; i < 4; i++) await t.rejects(dialer.dial(), { code: 'NO_INSTANCE' })
  t.equal(tried.length, 8)
  delete answers.two
  t.ok(await dialer.dial())
})

t.test('who hangs up again and again gets nobody ejected', async (t) => {
  let hangUp = new AbortController()
  const { dialer, tried } = dial({
    candidates: ['slow@2.0.0', 'other@1.0.0'],
    answers: { slow: 'never' },
    onopen: () => hangUp.abort(new Error('hung up'))
  })
  for (let i = 0; i < 5; i++) {
    hangUp = new AbortController()
    await t.rejects(dialer.dial({ signal: hangUp.signal }), { message: 'hung up' })
  }
  t.same(new Set(tried), new Set(['slow']))
})

t.test('streams that are open count against their instance', async (t) => {
  const { dialer, tried } = dial({ candidates: ['a@1.0.0', 'b@1.0.0'] })
  const streams: LinkStream[] = []
  for (let i = 0; i < 6; i++) streams.push(await dialer.dial())
  t.equal(tried.filter((name) => name === 'a').length, 3)
  const [first] = tried
  for (const [i, stream] of streams.entries()) if (tried[i] === first) stream.destroy()
  await new Promise(setImmediate)
  for (let i = 0; i < 3; i++) await dialer.dial()
  t.same(tried.slice(6), [first, first, first])
})

t.test('only a lone instance is insisted on', async (t) => {
  const lone = dial({ candidates: ['only@1.0.0'] })
  await lone.dialer.dial()
  t.same(lone.insistedOn, ['only'])
  const two = dial({ candidates: ['one@1.0.0', 'two@1.0.0'] })
  await two.dialer.dial()
  t.same(two.insistedOn, [])
})

t.test('when all are leaving, a dial waits for who comes in their place', async (t) => {
  const candidates = ['old@1.0.0']
  let changed = () => {}
  const { dialer, tried } = dial({
    candidates,
    answers: { old: SeaportError.REFUSED('the service is draining') },
    watch: (listener) => {
      changed = listener
      queueMicrotask(() => {
        candidates.unshift('new@1.0.0')
        changed()
      })
      return () => {}
    }
  })
  t.ok(await dialer.dial())
  t.same(tried, ['old', 'new'])
})

t.test('a dial tries only instances that speak what it is for', async (t) => {
  const candidates = [
    {
      servicePublicKey: toHex(Buffer.from('both')),
      role: 'api',
      version: '1.0.0',
      speaks: ['', 'a']
    },
    { servicePublicKey: toHex(Buffer.from('bytes')), role: 'api', version: '2.0.0' },
    { servicePublicKey: toHex(Buffer.from('a')), role: 'api', version: '3.0.0', speaks: ['a'] }
  ]
  const opened: string[] = []
  const dialer = new Dialer({
    role: 'api@*',
    resolve: () => candidates,
    mode: 'first',
    pool: {
      isSuspect: () => false,
      open: async (key, { purpose } = {}) => {
        opened.push(`${nameOf(key)} ${purpose}`)
        throw SeaportError.BACKEND_UNREACHABLE('no')
      }
    }
  })
  await t.rejects(dialer.dial(), { code: 'NO_INSTANCE' })
  await t.rejects(dialer.dial({ purpose: 'a' }), { code: 'NO_INSTANCE' })
  t.same(opened, ['both ', 'bytes ', 'both a', 'a a'])
  await t.rejects(dialer.dial({ purpose: 'b' }), {
    code: 'NO_INSTANCE',
    message: /no instance of api@\* speaks b/
  })
  t.same(dialer.next()?.servicePublicKey, toHex(Buffer.from('both')))
})

interface Setting
  extends Partial<
    Pick<DialerOptions, 'mode' | 'dialTimeout' | 'hedgeAfter' | 'instanceStats' | 'watch'>
  > {
  /** `name@version`, best first. */
  candidates: string[]
  /** What those answer who do not take the stream. */
  answers?: Record<string, SeaportError | 'never' | Promise<void>>
  suspects?: string[]
  onopen?: (name: string) => void
}

/** A dialer over a pool of the test's own. */
function dial({ candidates, answers = {}, suspects = [], onopen, ...options }: Setting) {
  const tried: string[] = []
  const aborted: string[] = []
  const insistedOn: string[] = []
  const pool: DialerOptions['pool'] = {
    isSuspect: (key) => suspects.includes(nameOf(Buffer.from(key, 'hex'))),
    pathOf: () => null,
    open: async (key, { signal, insist }: OpenOptions = {}): Promise<LinkStream> => {
      const name = nameOf(key)
      tried.push(name)
      if (insist) insistedOn.push(name)
      onopen?.(name)
      const answer = answers[name]
      if (answer instanceof SeaportError) throw answer
      if (answer !== 'never') {
        await answer
        return idleStream()
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
  return {
    dialer: new Dialer({ role: 'api@1.x', resolve, pool, ...options }),
    tried,
    aborted,
    insistedOn
  }
}

function toCandidate(text: string): Candidate {
  const [name = '', version = ''] = text.split('@')
  return { servicePublicKey: toHex(Buffer.from(name)), role: 'api', version }
}

function nameOf(key: Buffer): string {
  return key.toString()
}
