import type { EventEmitter } from 'node:events'
import { once } from 'node:events'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Admin, BootstrapNode, Consumer, Registry, Service, Web } from '../../lib/index.js'
import { freePort } from '../../lib/serving/local-port.js'
import { Testbed } from '../testbed.js'

interface Made {
  setup(options?: { timeout: number }): Promise<unknown>
  destroy(): Promise<void>
}

const SEED = '0b'.repeat(32)
const REGISTRY_PUBLIC_KEY = toHex(KeyPair(SEED).publicKey)
/** When a setup is cut short: after so many turns of the event loop, or so many ms. */
const TURNS = [0, 2, 8]
const MOMENTS_MS = [3, 30, 100, 300, 1000]

/** One of each kind, of one registry. */
async function makeEach(t: Parameters<typeof Testbed.make>[0]) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const options = async () => ({
    registryPublicKey: REGISTRY_PUBLIC_KEY,
    bootstrap,
    dir: await testbed.dir()
  })
  const registry = Registry({ seed: SEED, bootstrap, dir: await testbed.dir(), private: false })
  const others: Made[] = [
    Service({ ...(await options()), role: 'hello@1.0.0', port: 9, check: 'none' }),
    Consumer([], await options()),
    Web(await options()),
    Admin({ seed: SEED, bootstrap, dir: await testbed.dir() })
  ]
  const each: Made[] = [registry, ...others]
  for (const one of each) t.teardown(() => one.destroy())
  return { registry, others, each }
}

t.test('what was destroyed is not set up again, whether it had been or not', async (t) => {
  const { registry, others, each } = await makeEach(t)
  await registry.setup()
  for (const one of others) {
    const [first, second] = await Promise.all([one.setup(), one.setup()])
    t.equal(first, second, 'together')
    await Promise.all([one.destroy(), one.destroy()])
    await t.rejects(one.setup(), { code: 'CLOSED' })
  }
  await registry[Symbol.asyncDispose]()
  await t.rejects(registry.setup(), { code: 'CLOSED' })
  for (const one of each) await one.destroy()

  for (const one of (await makeEach(t)).each) {
    await one.destroy()
    await t.rejects(one.setup(), { code: 'CLOSED' })
  }
})

t.test('destroy during setup ends both, at any moment', async (t) => {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const registry = Registry({ seed: SEED, bootstrap, dir: await testbed.dir(), private: false })
  t.teardown(() => registry.destroy())
  await registry.setup()
  await cutEachShort(t, testbed, async () => bootstrap, true)
})

t.test('destroy during setup ends both where nobody answers, too', async (t) => {
  // A network of its own for each: one that others in this process use waits longer for an answer.
  const bootstrap = async () => `127.0.0.1:${await freePort(0)}`
  await cutEachShort(t, await Testbed.make(t), bootstrap, false)
})

async function cutEachShort(
  t: Test,
  testbed: Testbed,
  bootstrap: () => Promise<string>,
  isAnswered: boolean
) {
  const options = async () => ({
    registryPublicKey: REGISTRY_PUBLIC_KEY,
    bootstrap: await bootstrap(),
    dir: await testbed.dir(),
    timeout: Infinity
  })
  const role = 'hello@1.0.0'
  const command = [process.execPath, '-e', 'setInterval(() => {}, 1000)']
  const makers: [make: () => Promise<Made>, ...events: string[]][] = [
    [async () => Registry({ seed: SEED, ...(await options()), private: false })],
    [
      async () => Service({ ...(await options()), role, port: 9, check: 'none' }),
      'listening',
      'connecting'
    ],
    [async () => Service({ ...(await options()), role, command }), 'listening'],
    [async () => Consumer(['nobody@1.x'], await options()), 'connecting'],
    [async () => Web(await options()), 'connecting'],
    [async () => Admin({ ...(await options()), seed: SEED })],
    [async () => BootstrapNode({ port: 0 })]
  ]
  await Promise.all(
    makers.map(async ([make, ...events]) => {
      for (const turns of isAnswered ? TURNS : []) {
        await cutShort(t, await make(), async () => {
          for (let turn = 0; turn < turns; turn++) await setImmediate()
        })
      }
      for (const ms of isAnswered ? MOMENTS_MS : [0, 100, 1000])
        await cutShort(t, await make(), () => sleep(ms))
      for (const event of isAnswered ? events : []) {
        const made = await make()
        // Destroyed by the listener, in the middle of the step that emits.
        const heard = once(made as Made & EventEmitter, event).then(() => {})
        ;(made as Made & EventEmitter).once(event, () => made.destroy())
        await cutShort(t, made, () => heard)
      }
    })
  )
}

/** Destroys what is being set up at a moment. That nothing hangs is what is tested. */
async function cutShort(t: Test, made: Made, moment: () => Promise<void>) {
  const setup = made.setup().then(
    () => 'done',
    ({ code }) => code
  )
  await moment()
  await made.destroy()
  t.match(await setup, /^(CLOSED|done)$/)
}

t.test('setup takes a timeout of its own', async (t) => {
  const { others } = await makeEach(t)
  const codes = [
    'REGISTRAR_NOT_FOUND',
    'REGISTRY_NOT_FOUND',
    'REGISTRY_NOT_FOUND',
    'REGISTRAR_NOT_FOUND'
  ]
  const late = others.map((one) => one.setup({ timeout: 200 }).catch(({ code }) => code))
  t.same(await Promise.all(late), codes)
})

t.test('nothing of how they are made shows: two verbs, and what is documented', async (t) => {
  const { each } = await makeEach(t)
  for (const one of each) {
    for (const name of ['ready', 'close', 'opened', 'opening', 'closing', 'closed', '_open']) {
      t.notOk(name in one, name)
    }
    const own = Object.keys(one).filter((name) => !name.startsWith('_'))
    t.ok(
      own.every((name) => ['role', 'entries', 'publicKey'].includes(name)),
      `${own}`
    )
  }
})
