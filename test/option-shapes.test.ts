import t from 'tap'
import { Admin, Apps, Consumer, Host, Peer, Registry, Service, Web } from '../lib/index.js'
import { checkOptions } from '../lib/option-shapes.js'

const SEED = '01'.repeat(32)
const bootstrap = '127.0.0.1:1'
/** What callers without types give, by the face that takes it. */
const FACES: [
  make: (options: never) => unknown,
  options: object,
  wrong: Record<string, unknown[]>
][] = [
  [Registry, { seed: SEED }, { bootstrap: [5, {}], host: [5], kinds: [null, 'x', [5], [{}]] }],
  [Admin, { seed: SEED }, { bootstrap: [true], kinds: [null, [null]] }],
  [Apps, { seed: SEED }, { bootstrap: [5] }],
  [Host, { seed: SEED }, { labels: [null, 5, [{}]], drivers: [5] }],
  [Service, { role: 'a@1.0.0', port: 9 }, { allow: ['x', {}], writers: [5] }],
  [Service, { role: 'a@1.0.0' }, { command: ['node'], stdio: [5, {}] }],
  [Peer, {}, { bootstrap: [5], allow: [5] }],
  [
    (options) => Consumer(['a@1.x'], options),
    {},
    { ports: [null, 5], loadBalanceOptions: [null], listen: [5, true] }
  ],
  [
    Web,
    {},
    {
      ...{ access: [5, []], cors: [null, {}, [null]], domains: [5, [null]], open: ['*', null] },
      ...{ hostnames: [5, [null]], apps: [[null]], allowedHosts: ['*', [5]], http2: [5] },
      ...{ deadlines: [5, [null]], trustedProxies: [null, [5]], channels: [null], tls: ['x'] },
      ...{
        maxHeaderBytes: ['many'],
        requestTimeout: [Number.NaN, 'long'],
        listen: [5, Symbol('s')]
      }
    }
  ]
]

t.test('an option of another shape is refused with a code, and named', async (t) => {
  for (const [make, options, table] of FACES) {
    const common = { registryPublicKey: '02'.repeat(32), bootstrap, ...options }
    for (const [name, values] of Object.entries(table)) {
      for (const value of values) {
        const failure = { code: 'USAGE', message: new RegExp(`\\b${name}\\b`) }
        const given = { ...common, [name]: value } as never
        t.throws(() => make(given), failure, `${name}: ${String(value)}`)
      }
    }
    for (const given of [undefined, null, 'x']) {
      t.throws(() => make(given as never), { code: 'USAGE' }, 'options are an object')
    }
  }
})

t.test('an option that is left out, or is what it should be, is taken', async (t) => {
  checkOptions({ bootstrap: undefined, allow: null, labels: ['region=eu'], listen: false })
  t.throws(() => checkOptions({ cors: [1] }), {
    message: 'USAGE: cors must be a list of objects, not [1]'
  })
})
