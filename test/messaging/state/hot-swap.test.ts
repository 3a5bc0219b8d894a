import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Admin } from '../../../lib/admin.js'
import { Consumer } from '../../../lib/consumer.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { keepProcessKey } from '../../../lib/registry/log/own-keys.js'
import { Registry } from '../../../lib/registry.js'
import { Service } from '../../../lib/service.js'
import type { ServiceOptions } from '../../../lib/service-options.js'
import { Testbed } from '../../testbed.js'

/** A registry, services in folders of their own, and who watches them. */
async function harbor(t: Test) {
  const testbed = await Testbed.make(t)
  await testbed.registrar()
  const registryPublicKey = toHex(testbed.keyPair.publicKey)
  const common = { registryPublicKey, bootstrap: testbed.bootstrap }
  const dir = await testbed.dir()
  const service = (options: Partial<ServiceOptions> = {}) => {
    const made: Service = Service({
      ...common,
      dir,
      role: 'agent@1.0.0',
      commands: { who: () => made.servicePublicKey },
      drainTimeout: 1000,
      ...options
    } as ServiceOptions)
    t.teardown(() => made.destroy())
    return made
  }
  const consumer = async () => {
    const made = Consumer(['agent'], { ...common, dir: await testbed.dir(), listen: false })
    t.teardown(() => made.destroy())
    const [entry] = await made.setup()
    return entry
  }
  return { testbed, service, consumer, dir }
}

const valuesOf = (entries: readonly { name: string; value: unknown }[]) =>
  Object.fromEntries(entries.map(({ name, value }) => [name, value]))

t.test('a newcomer takes over state and place, and the one before leaves', async (t) => {
  const { service, consumer } = await harbor(t)
  const first = await service().setup()
  await first.state.set('mode', 'busy')
  await first.state.set('gone', 1)
  const entry = await consumer()
  await entry.state.ready()
  const heard = new Promise((resolve) => entry.events.on('$moved', resolve))
  await entry.events.ready()
  const moved = once(first, 'moved')
  await first.state.delete('gone')
  const second = await service({ role: 'agent@2.0.0', takeOver: true }).setup()
  t.same(await moved, [second.servicePublicKey])
  t.same(await heard, { to: second.servicePublicKey })
  t.same(valuesOf(second.state.entries()), { mode: 'busy' })
  t.match(second.state.entries(), [{ owner: second.servicePublicKey, term: 2, rev: 1 }])
  await t.rejects(first.state.set('mode', 'late'), { code: 'REFUSED', executed: 'no' })
  await first.destroy()
  t.equal(await second.state.set('mode', 'idle', { if: 1 }), 4, 'its revisions go on')
  t.equal(await entry.send('who'), second.servicePublicKey)
  const seen = new Promise<void>((resolve) => {
    entry.state.on('change', ({ value }) => value === 'idle' && resolve())
  })
  await seen
  t.match(await entry.state.entries(), [
    { name: 'mode', value: 'idle', owner: second.servicePublicKey, term: 2, stale: false }
  ])

  const third = await service({ role: 'agent@3.0.0', takeOver: true }).setup()
  t.equal(third.servicePublicKey, first.servicePublicKey, 'the first place was free again')
  t.match(third.state.entries(), [{ owner: third.servicePublicKey, term: 3, value: 'idle' }])
})

t.test('who is not named may not take over, and nothing changes', async (t) => {
  const { service, testbed } = await harbor(t)
  const keyPair = KeyPair()
  const first = await service().setup()
  await first.state.set('mode', 'busy')
  const other = service({ dir: await testbed.dir(), takeOver: true })
  await t.rejects(other.setup(), { code: 'NOT_ALLOWED', message: /successors/ })
  t.equal(await first.state.set('mode', 'idle'), 2)
  await first.destroy()

  const named = await service({ successors: [keyPair.publicKey] }).setup()
  const dir = await testbed.dir()
  const elsewhere = service({ dir, keyPair, takeOver: named.servicePublicKey })
  await elsewhere.setup()
  t.same(valuesOf(elsewhere.state.entries()), { mode: 'idle' })
})

t.test('without another one, or a state, it is a service like any other', async (t) => {
  const { service, consumer } = await harbor(t)
  const first = await service({ takeOver: true }).setup()
  t.notOk(first.record?.joining)
  const moved = once(first, 'moved')
  const second = await service({ takeOver: true }).setup()
  await moved
  t.same(second.state.entries(), [])
  t.equal(await (await consumer()).send('who'), second.servicePublicKey)
})

t.test('what a newcomer writes before it has taken over is not lost', async (t) => {
  const { service } = await harbor(t)
  const first = await service().setup()
  await first.state.set('mode', 'busy')
  const second = service({ role: 'agent@2.0.0', takeOver: true })
  const written = once(second, 'listening').then(() => second.state.set('started', 1))
  await second.setup()
  t.equal(await written, 2)
  t.same(valuesOf(second.state.entries()), { mode: 'busy', started: 1 })
})

t.test('what died in this folder is gone on with at once, and does not come back', async (t) => {
  const { service } = await harbor(t)
  const first = await service({ name: 'a' }).setup()
  await first.state.set('mode', 'busy')
  await first.destroy()
  const second = await service({ name: 'b', takeOver: true }).setup()
  t.match(second.state.entries(), [{ name: 'mode', value: 'busy', term: 2 }])
  const again = await service({ name: 'a' }).setup()
  t.same(again.state.entries(), [])
})

t.test('the last that a watcher saw comes back elsewhere', async (t) => {
  const { service, consumer, testbed } = await harbor(t)
  const first = await service().setup()
  await first.state.set('mode', 'busy')
  await first.state.set('n', 7)
  const entry = await consumer()
  t.equal(await entry.state.get('n'), 7)
  const from = first.servicePublicKey
  await first.destroy()
  const second = service({ dir: await testbed.dir(), keyPair: KeyPair(), takeOver: from })
  await second.setup()
  t.same(valuesOf(second.state.entries()), { mode: 'busy', n: 7 })
  t.notOk(second.record?.joining)
})

t.test('who comes back after another one went on elsewhere yields to it', async (t) => {
  const { service, consumer, testbed } = await harbor(t)
  const keyPair = KeyPair()
  const terms = { successors: [keyPair.publicKey] }
  const first = await service(terms).setup()
  await first.state.set('n', 7)
  const entry = await consumer()
  t.equal(await entry.state.get('n'), 7)
  const from = first.servicePublicKey
  await first.destroy()
  const second = service({ dir: await testbed.dir(), keyPair, takeOver: from })
  await second.setup()
  const back = service(terms)
  const late = new Promise<unknown>((resolve) => {
    back.once('moved', (to) => {
      t.equal(to, second.servicePublicKey)
      back.state.set('n', 8).catch(resolve)
    })
  })
  // It leaves soon after, which may be before it is told that it was registered.
  const setup = back.setup().catch(() => {})
  t.match(await late, { code: 'REFUSED', executed: 'no' })
  await setup
  t.equal(back.servicePublicKey, from)
  await back.destroy()
  t.equal(await second.state.set('n', 9), 2)

  const anew = await service(terms).setup()
  t.same(anew.state.entries(), [], 'its state was given away; it is an instance like any other')
})

t.test('in a private registry reading, writing and taking over take a right each', async (t) => {
  const testbed = await Testbed.make(t)
  const seed = KeyPair().publicKey
  const { bootstrap } = testbed
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: true })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey } = registry
  const options = async () => ({ registryPublicKey, bootstrap, dir: await testbed.dir() })
  const admin = Admin({ seed, bootstrap, dir: await testbed.dir() })
  t.teardown(() => admin.destroy())
  await admin.setup()
  const keys = [KeyPair(), KeyPair(), KeyPair()] as const
  for (const { publicKey } of keys.slice(0, 2)) await admin.grant(publicKey, { serve: ['agent'] })
  await admin.grant(keys[2].publicKey, { serve: ['other'] })
  const reader = await options()
  const readerKey = await keepProcessKey(Buffer.from(registryPublicKey, 'hex'), reader.dir)
  await admin.grant(readerKey.publicKey, { call: ['agent#$state', 'agent#*'] })

  const agent = { role: 'agent@1.0.0', commands: { hello: () => 1 } }
  const first = Service({
    ...agent,
    ...(await options()),
    keyPair: keys[0],
    successors: 'serve',
    writers: [readerKey.publicKey],
    drainTimeout: 1000
  })
  t.teardown(() => first.destroy())
  await first.setup()
  await first.state.set('mode', 'busy')
  const consumer = Consumer(['agent'], { ...reader, listen: false })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  t.equal(await entry.state.get('mode'), 'busy')
  await t.rejects(entry.state.set('mode', 1), { code: 'NOT_GRANTED', message: /\$set/ })
  await admin.grant(readerKey.publicKey, { call: ['agent#$state', 'agent#$set'] })
  for (;;) {
    const denied = await entry.state.set('mode', 1).then(
      () => null,
      ({ code }) => code
    )
    if (denied === null) break
    t.equal(denied, 'NOT_GRANTED')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }

  const outsider = Service({ ...agent, ...(await options()), keyPair: keys[2], takeOver: true })
  t.teardown(() => outsider.destroy())
  await t.rejects(outsider.setup({ timeout: 5000 }), { code: 'NOT_ALLOWED' })
  const second = Service({ ...agent, ...(await options()), keyPair: keys[1], takeOver: true })
  t.teardown(() => second.destroy())
  await second.setup()
  t.same(valuesOf(second.state.entries()), { mode: 1 })
})
