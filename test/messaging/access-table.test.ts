import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { Admin, type CallContext, Consumer, KeyPair, Registry, Service } from '../../lib/index.js'
import { keepProcessKey } from '../../lib/registry/log/own-keys.js'
import { Outsider } from '../outsider.js'
import { OutsiderLink } from '../outsider-link.js'
import { Testbed } from '../testbed.js'
import { tableOf } from '../threat-table.js'
import { inTime } from '../watchdog.js'

const CUT_MS = 1000

/** A private registry with an agent that speaks and has a backend. */
async function registryOf(t: Test, testbed: Testbed, name = '') {
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: true })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey, publicKey } = registry
  const admin = Admin({ seed, bootstrap, dir: await testbed.dir() })
  t.teardown(() => admin.destroy())
  await admin.setup()
  const keyPair = KeyPair()
  await admin.grant(keyPair.publicKey, { serve: ['*'] })
  let onhang: (context: CallContext) => void = () => {}
  const agent = Service({
    registryPublicKey,
    bootstrap,
    keyPair,
    role: 'agent@1.0.0',
    server: createServer((socket) => socket.on('error', () => {}).pipe(socket)),
    dir: await testbed.dir(),
    commands: {
      fetch: () => name,
      stop: () => name,
      hang: (_, context) =>
        new Promise(() => {
          onhang(context)
        })
    }
  })
  t.teardown(() => agent.destroy())
  await agent.setup()
  const outsider = new Outsider(testbed, publicKey)
  const [address = ''] = agent.record?.direct ?? []
  const links = (key: KeyPair) => [
    new OutsiderLink(outsider.link(agent.publicKey, key)),
    new OutsiderLink(outsider.linkDirectly(address, agent.publicKey, key))
  ]
  const hung = () =>
    new Promise<CallContext>((resolve) => {
      onhang = resolve
    })
  return { registryPublicKey, publicKey, admin, agent, outsider, address, links, hung, keyPair }
}

type Setting = Awaited<ReturnType<typeof registryOf>>

/** Tries everything by each path, which has to come out the same. */
async function tryAll({ outsider, agent, address, links }: Setting, key: KeyPair) {
  const both = async (deed: (link: OutsiderLink) => Promise<string>) =>
    [...new Set(await Promise.all(links(key).map(deed)))].join(' or ')
  const calls = [
    outsider.connect(agent.publicKey, key),
    outsider.connectDirectly(address, agent.publicKey, key)
  ]
  const bytes = await Promise.all(calls.map(({ outcome }) => outcome))
  return {
    fetch: await both((link) => link.call('fetch')),
    stop: await both((link) => link.call('stop')),
    $describe: await both((link) => link.call('$describe')),
    events: await both((link) => link.listen()),
    $state: await both((link) => link.call('$state')),
    $set: await both((link) => link.call('$set')),
    'taking over': await both((link) => link.takeOver()),
    bytes: [...new Set(bytes)].join(' or ')
  }
}

/** The registrar has the grant, and a service hears of it soon after; what was granted before, it has heard by then. */
async function onceHeardOf(
  { links }: Setting,
  key: KeyPair,
  deed: (link: OutsiderLink) => Promise<string>
) {
  while ((await deed(links(key)[0] as OutsiderLink)) !== 'yes');
}

t.test('in a private registry everybody may call what the table says', async (t) => {
  const setting = await registryOf(t, await Testbed.make(t))
  const { admin } = setting
  const granted = async (terms: Parameters<typeof admin.grant>[1]) => {
    const key = KeyPair()
    await admin.grant(key.publicKey, terms)
    return key
  }
  const revoked = await granted({ consume: ['*'], call: ['agent#*'] })
  await admin.revoke(revoked.publicKey)
  const parties: Record<string, KeyPair> = {
    'who knows its public key, and those of services': KeyPair(),
    'a key that may call `agent@1.x#fetch`': await granted({ call: ['agent@1.x#fetch'] }),
    'a key that may call `agent@2.x#fetch`': await granted({ call: ['agent@2.x#fetch'] }),
    'a key that may call `agent#*`': await granted({ call: ['agent#*'] }),
    'a key that may call `agent#$events`': await granted({ call: ['agent#$events'] }),
    'a key that may call `agent#$state`': await granted({ call: ['agent#$state'] }),
    'a key that may call `agent#$set`': await granted({ call: ['agent#$set'] }),
    'a key that may serve': await granted({ serve: ['agent'] }),
    'a key that may consume': await granted({ consume: ['agent@1.x'] }),
    'a key that was revoked': revoked
  }
  const last = await granted({ consume: ['*'] })
  await onceHeardOf(setting, last, (link) => link.call('fetch'))
  const table = await tableOf('Of commands, events and state, in a private registry')
  const rows = Object.keys(parties).map((who) => who.replaceAll('`', ''))
  t.strictSame([...table.keys()], rows, 'every row is tried')
  for (const [who, key] of Object.entries(parties)) {
    t.strictSame(await tryAll(setting, key), table.get(who.replaceAll('`', '')), who)
  }
})

t.test(
  'a key whose right to call is revoked is cut within a second, and its handlers end',
  async (t) => {
    const setting = await registryOf(t, await Testbed.make(t))
    const { admin, links, hung } = setting
    for (const path of [0, 1]) {
      const key = KeyPair()
      await admin.grant(key.publicKey, { call: ['agent#hang', 'agent#$events'] })
      await onceHeardOf(setting, key, (link) => link.listen())
      const link = links(key)[path] as OutsiderLink
      const begun = hung()
      const outcome = link.call('hang')
      const { signal } = await begun
      t.equal(await link.listen(), 'yes')
      const aborted = signal.aborted || once(signal, 'abort')
      const since = performance.now()
      await admin.revoke(key.publicKey)
      await Promise.all([aborted, link.closed])
      const took = performance.now() - since
      t.ok(inTime(took, CUT_MS), `it was over after ${took} ms`)
      t.not(await outcome, 'yes')
    }
  }
)

t.test('nothing crosses between two registries on one network', async (t) => {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const both = await Promise.all(['one', 'two'].map((name) => registryOf(t, testbed, name)))
  for (const [i, { registryPublicKey, publicKey, admin, agent }] of both.entries()) {
    const other = both[1 - i] as Setting
    const dir = await testbed.dir()
    const own = await keepProcessKey(publicKey, dir)
    await admin.grant(own.publicKey, { consume: ['*'] })
    const consumer = Consumer(['agent@1.x'], { registryPublicKey, bootstrap, dir, listen: false })
    t.teardown(() => consumer.destroy())
    const [entry] = await consumer.setup()
    t.same(
      entry.instances().map(({ servicePublicKey }) => servicePublicKey),
      [agent.servicePublicKey]
    )
    for await (const answer of entry.sendAll('fetch')) {
      t.same(answer, { instance: agent.servicePublicKey, value: ['one', 'two'][i] })
    }
    await t.rejects(entry.send('fetch', null, { instance: other.agent.servicePublicKey }), {
      code: 'NO_INSTANCE',
      executed: 'no'
    })
    const heard: unknown[] = []
    const done = new Promise((resolve) => {
      entry.events.on('*', (data) => {
        heard.push(data)
        if (data === 'last') resolve(null)
      })
    })
    await entry.events.ready()
    other.agent.events.emit('TICK', 'of the other')
    agent.events.emit('TICK', 'of its own')
    agent.events.emit('TICK', 'last')
    await done
    t.same(heard, ['of its own', 'last'])
    // With a key that may do all in the one, at the door of the other.
    const { 'taking over': swap, ...rest } = await tryAll(other, own)
    t.same(new Set(Object.values(rest)), new Set(['NOT_GRANTED']))
    t.equal(swap, 'NOT_ALLOWED')
  }
})
