import t from 'tap'
import { type Attempt, judge } from '../../lib/hosting/judging.js'
import type { AppView, InstanceView } from '../../lib/hosting/placement-view.js'
import { Ranks } from '../../lib/hosting/ranks.js'
import type { Judgement } from '../../lib/registry/trust/verdict.js'
import { aHost, anApp } from './fleet.js'

const [one, two] = [aHost(), aHost()]
const [best, other] = new Ranks([one.host, two.host]).of('shop').map(({ host }) => host)
const DEADLINE = 60_000

t.test(
  'an instance that does not pass within the deadline has failed, and not before',
  async (t) => {
    t.equal(look({ attempts: [attempt({ failingFor: DEADLINE - 1 })] }), null)
    const found = look({ attempts: [attempt({ failingFor: DEADLINE })] })
    t.match(found, { outcome: 'failed', release: 'r1', isLast: false, why: 'it does not listen' })
    t.match(look({ attempts: [attempt({ isCrashLooping: true })] }), { outcome: 'failed' })
    t.equal(look({ attempts: [attempt({ release: 'r0', failingFor: DEADLINE })] }), null)
  }
)

t.test(
  'a host says if no other could try it: at once, later, or after it was waited for long enough',
  async (t) => {
    const attempts = [attempt({ failingFor: DEADLINE })]
    t.match(look({ attempts, hosts: [one] }), { isLast: true })
    t.match(look({ attempts, app: anApp({ failedOn: new Set([two.host]) }) }), { isLast: true })
    const said: Judgement = { release: 'r1', outcome: 'failed', isLast: false, at: 0, why: 'so' }
    t.equal(look({ said, now: DEADLINE }), null)
    t.match(look({ said, hosts: [{ ...two, isDraining: true }, one] }), { isLast: true, why: 'so' })
    t.match(look({ said, now: 2 * DEADLINE + 1 }), { isLast: true })
    const passes = [anInstance(two.host)]
    t.equal(look({ said, now: 2 * DEADLINE + 1, instances: passes }), null, 'it passes elsewhere')
    t.equal(look({ said: { ...said, isLast: true }, now: 9 * DEADLINE }), null)
  }
)

t.test(
  'it is complete when as many as wanted pass, and the best-ranked host with one says so',
  async (t) => {
    const instances = [one, two].map(({ host }) => anInstance(host))
    const app = anApp({ instances: 2 })
    t.match(look({ app, instances, host: best as string }), { outcome: 'complete', release: 'r1' })
    t.equal(look({ app, instances, host: other as string }), null)
    t.equal(look({ app, instances: instances.slice(1), host: best as string }), null)
    t.equal(look({ app: { ...app, isComplete: true }, instances, host: best as string }), null)
    t.equal(look({ app: { ...app, instances: 0 }, instances: [], host: best as string }), null)
  }
)

function look({ host = one.host, ...more }: Partial<Terms>): Judgement | null {
  const terms = {
    app: anApp(),
    hosts: [one, two],
    instances: [],
    attempts: [],
    said: null,
    now: 1,
    ...more
  }
  const { app, hosts, instances } = terms
  return judge({ ...terms, host, view: { hosts, apps: [app], instances }, deadline: DEADLINE })
}

interface Terms {
  host: string
  app: AppView
  hosts: ReturnType<typeof aHost>[]
  instances: InstanceView[]
  attempts: Attempt[]
  said: Judgement | null
  now: number
}

function attempt(fields: Partial<Attempt>): Attempt {
  return {
    release: 'r1',
    failingFor: 1,
    isCrashLooping: false,
    why: 'it does not listen',
    ...fields
  }
}

function anInstance(host: string): InstanceView {
  return { app: 'shop', host, slot: 0, release: 'r1', state: 'passing' }
}
