import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Admin, Consumer, Registry, Service, Web } from '../../lib/index.js'
import { Testbed } from '../testbed.js'

interface Made {
  setup(options?: { timeout: number }): Promise<unknown>
  destroy(): Promise<void>
}

/** One of each kind, of one registry. */
async function makeEach(t: Parameters<typeof Testbed.make>[0]) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = '0b'.repeat(32)
  const registryPublicKey = toHex(KeyPair(seed).publicKey)
  const options = async () => ({ registryPublicKey, bootstrap, dir: await testbed.dir() })
  const registry = Registry({ seed, bootstrap, dir: await testbed.dir() })
  const others: Made[] = [
    Service({ ...(await options()), role: 'hello@1.0.0', port: 9, check: 'none' }),
    Consumer([], await options()),
    Web(await options()),
    Admin({ seed, bootstrap, dir: await testbed.dir() })
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

t.test('destroy during setup ends both', async (t) => {
  const { each } = await makeEach(t)
  const ends = each.map((one) => one.setup().catch(({ code }) => code))
  await Promise.all(each.map((one) => one.destroy()))
  t.same(await Promise.all(ends), ['CLOSED', 'CLOSED', 'CLOSED', 'CLOSED', 'CLOSED'])
})

t.test('what a factory makes is an instance of it, with new or without', async (t) => {
  const { each } = await makeEach(t)
  for (const [i, Kind] of [Registry, Service, Consumer, Web, Admin].entries()) {
    t.ok(each[i] instanceof Kind)
    t.notOk(each[i] instanceof (Kind === Registry ? Service : Registry))
  }
  const made = new Consumer([], { registryPublicKey: '5b'.repeat(32), bootstrap: '127.0.0.1:1' })
  t.ok(made instanceof Consumer)
  await made.destroy()
})

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
