import t from 'tap'
import { measuresOf } from '../lib/core/metrics.js'
import { Admin, KeyPair, Peer, type SeaportError, Service } from '../lib/index.js'
import { collect, mailHarbor, receiptsOf } from './messaging/mail/harbor.js'
import { restWhile } from './rest.js'

t.test(
  'a letter to a key comes, and its writer has a receipt that the receiver signed',
  async (t) => {
    const { peer } = await mailHarbor(t)
    const [alice, bob] = [await peer({ name: 'alice' }), await peer({ name: 'bob' })]
    const { count } = collect(bob)
    for (const body of ['hello', { a: [1] }, Buffer.from([1, 2]), undefined]) {
      const letter = await alice.send(bob.key, body, { type: 'note' })
      t.equal(letter.status, 'queued')
      const receipts = receiptsOf(letter)
      t.match(await letter.delivered, { id: letter.id, status: 'delivered', by: bob.key })
      t.equal(letter.status, 'delivered')
      t.equal(receipts.length, 1)
      const message = (await count(1)).pop()
      t.match(message, { id: letter.id, from: alice.key, type: 'note', toRole: false })
      t.same(message?.body, body)
      t.ok(message && Math.abs(Date.now() - message.sentAt.getTime()) < 60_000)
    }
    t.same(await alice.outbox(), [])
    t.match(alice.getStats().mail.outbox, { sent: 4, delivered: 4, waiting: { letters: 0 } })
    t.match(bob.getStats().mail.inbox, { taken: 4, handled: 4, waiting: { letters: 0 } })
    t.match(await alice.reach(bob.key), { path: /^(direct|dht)$/ })
  }
)

t.test('peers see each other by name', async (t) => {
  const { peer } = await mailHarbor(t)
  const [alice, bob] = [await peer({ name: 'alice' }), await peer()]
  await restWhile(() => bob.peers().length === 0 || alice.peers().length === 0)
  t.match(bob.peers(), [{ key: alice.key, name: 'alice', live: true }])
  t.match(alice.peers(), [{ key: bob.key, name: '' }])
})

t.test(
  'who has no listener finds its letters in the inbox, in order, also after a restart',
  async (t) => {
    const { peer, options } = await mailHarbor(t)
    const alice = await peer()
    const { dir } = await options()
    const first = await peer({ dir })
    for (const n of [1, 2, 3]) await (await alice.send(first.key, n)).delivered
    await first.destroy()
    const bob = await peer({ dir })
    t.equal(bob.key, first.key)
    const bodies: unknown[] = []
    for await (const { body } of bob.inbox()) {
      bodies.push(body)
      if (bodies.length === 2) break
    }
    t.same(bodies, [1, 2])
    const { messages, count } = collect(bob)
    await count(2)
    t.same(
      messages.map(({ body }) => body),
      [2, 3],
      'the second was not read to its end'
    )
    await restWhile(() => bob.getStats().mail.inbox.waiting?.letters !== 0)
    for await (const message of bob.inbox()) t.fail(`one is left: ${message.body}`)
  }
)

t.test('a letter whose handler throws comes again, and five times at most', async (t) => {
  const { peer } = await mailHarbor(t)
  const [alice, bob] = [await peer(), await peer()]
  let calls = 0
  const notices: SeaportError[] = []
  bob.on('notice', (notice) => notices.push(notice))
  bob.on('message', async ({ body }) => {
    calls++
    if (body === 'never' || calls < 3) throw new Error('not now')
  })
  await (await alice.send(bob.key, 'later')).delivered
  t.equal(calls, 3)
  calls = 0
  const letter = await alice.send(bob.key, 'never')
  await t.rejects(letter.delivered, { code: 'HANDLER_FAILED' })
  t.equal(letter.status, 'refused')
  t.equal(calls, 5)
  t.match(notices[0], { code: 'HANDLER_FAILED', message: /not now/ })
  const kept: unknown[] = []
  for await (const { body } of bob.inbox()) kept.push(body)
  t.same(kept, ['never'], 'it stays in the inbox')
})

t.test('a letter is delivered when its handler is done, and not before', async (t) => {
  const { peer } = await mailHarbor(t)
  const [alice, bob] = [await peer(), await peer()]
  let finish = () => {}
  const begun = new Promise<void>((resolve) => {
    bob.on('message', () => {
      resolve()
      return new Promise<void>((done) => {
        finish = done
      })
    })
  })
  const letter = await alice.send(bob.key, 'slow')
  await begun
  t.equal(letter.status, 'queued')
  finish()
  await letter.delivered
})

t.test('who is away has its letters when it is back, in order, and once', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const alice = await peer()
  const { dir } = await options()
  const away = await peer({ dir })
  const { key } = away
  await away.destroy()
  const letters = []
  for (const n of [1, 2, 3]) letters.push(await alice.send(key, n))
  const bob = Peer({ ...(await options()), dir })
  t.teardown(() => bob.destroy())
  const { messages } = collect(bob)
  await bob.setup()
  await Promise.all(letters.map(({ delivered }) => delivered))
  t.same(
    messages.map(({ body }) => body),
    [1, 2, 3]
  )
})

t.test('what waits in the outbox is sent after a restart', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const keyPair = KeyPair()
  const { dir } = await options()
  const first = await peer({ dir })
  const letter = await first.send(keyPair.publicKey, 'hello')
  t.match(await first.outbox(), [{ id: letter.id }])
  await first.destroy()
  await t.rejects(letter.delivered, { code: 'CLOSED' })
  await t.rejects(first.send(keyPair.publicKey, 'late'), { code: 'CLOSED' })
  const again = Peer({ ...(await options()), dir })
  t.teardown(() => again.destroy())
  const delivered = new Promise((resolve) =>
    again.on('receipt', (receipt) => receipt.status === 'delivered' && resolve(receipt))
  )
  await again.setup()
  const { count } = collect(await peer({ keyPair }))
  t.match(await count(1), [{ body: 'hello', from: again.key, id: letter.id }])
  t.match(await delivered, { id: letter.id, by: keyPair.publicKey.toString('hex') })
})

t.test('a letter to a role goes to one instance, and waits until there is one', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const alice = await peer()
  const letter = await alice.send('worker@1.x', 'work')
  const service = Service({ ...(await options()), role: 'worker@1.2.0', commands: {} })
  t.teardown(() => service.destroy())
  const { count } = collect(service.mail)
  await service.setup()
  t.match(await letter.delivered, { by: service.servicePublicKey })
  t.match(await count(1), [{ body: 'work', from: alice.key, toRole: true }])
  const answer = await service.mail.send(alice.key, 'done')
  await answer.delivered
})

t.test('an instance that goes before its receipt gives way to the next', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const worker = async () =>
    Service({ ...(await options()), role: 'worker@1.0.0', commands: {}, drainTimeout: 1 })
  const first = await worker()
  let finish = () => {}
  const begun = new Promise<void>((resolve) => {
    first.mail.on('message', () => {
      resolve()
      return new Promise<void>((done) => {
        finish = done
      })
    })
  })
  await first.setup()
  const alice = await peer()
  const letter = await alice.send('worker@1.x', 'work')
  await begun
  const second = await worker()
  t.teardown(() => second.destroy())
  const { count } = collect(second.mail)
  await second.setup()
  const gone = first.destroy()
  t.match(await count(1), [{ id: letter.id, body: 'work' }])
  t.match(await letter.delivered, { by: second.servicePublicKey })
  finish()
  await gone
})

t.test('a letter expires, and can be taken back', async (t) => {
  const { peer } = await mailHarbor(t)
  const alice = await peer()
  const nobody = KeyPair().publicKey
  const expiring = await alice.send(nobody, 'x', { ttl: 1 })
  const recalled = await alice.send(nobody, 'y')
  await t.rejects(expiring.delivered, { code: 'EXPIRED' })
  t.equal(expiring.status, 'expired')
  t.ok(await alice.recall(recalled.id))
  await t.rejects(recalled.delivered, { code: 'RECALLED' })
  t.notOk(await alice.recall(recalled.id))
  t.same(await alice.outbox(), [])
})

t.test('who is blocked or not accepted is refused with a code', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const alice = await peer()
  const { dir } = await options()
  const first = await peer({ dir })
  await first.block(alice.key)
  await first.destroy()
  const bob = await peer({ dir })
  await t.rejects((await alice.send(bob.key, 'x')).delivered, { code: 'NOT_ALLOWED' })
  await bob.unblock(alice.key)
  await (await alice.send(bob.key, 'x')).delivered

  const picky = await peer({ accept: [bob.key, 'worker@1.x'] })
  await t.rejects((await alice.send(picky.key, 'x')).delivered, { code: 'NOT_ALLOWED' })
  await (await bob.send(picky.key, 'x')).delivered
  const worker = Service({ ...(await options()), role: 'worker@1.0.0', commands: {} })
  t.teardown(() => worker.destroy())
  worker.mail
  await worker.setup()
  // Who knows of this one knows of the service, which was registered before it.
  const later = await peer()
  await restWhile(() => !picky.peers().some(({ key }) => key === later.key))
  await (await worker.mail.send(picky.key, 'x')).delivered
  t.throws(() => Peer({ registryPublicKey: alice.key, accept: ['no role!'] }), { code: 'BAD_ROLE' })
})

t.test('boxes have bounds, which are told with a code', async (t) => {
  const { peer } = await mailHarbor(t)
  const alice = await peer({ outbox: { maxLetters: 1 } })
  const bob = await peer({ inbox: { maxLetters: 1 } })
  await (await alice.send(bob.key, 1)).delivered
  await t.rejects((await alice.send(bob.key, 2)).delivered, { code: 'INBOX_FULL' })
  await alice.send(KeyPair().publicKey, 3)
  await t.rejects(alice.send(bob.key, 4), { code: 'OUTBOX_FULL' })
  await t.rejects(bob.send(alice.key, Buffer.alloc(60 * 1024 + 1)), { code: 'TOO_LARGE' })
  for (const ttl of [31 * 86_400_000, 0.4, Number.NaN, '60000' as never]) {
    await t.rejects(bob.send(alice.key, 'x', { ttl }), { code: 'USAGE' }, `${ttl}`)
  }
  await t.rejects(bob.send(alice.key, 'x', { type: 'no type' }), { code: 'USAGE' })
  await t.rejects(bob.send(alice.key, 1n), { code: 'USAGE' })
  await t.rejects(bob.send('nobody', 'x'), { code: 'BAD_KEY' })
  await (await bob.send(alice.key, Buffer.alloc(60 * 1024))).delivered
})

t.test('one process has the mail of a key at a time', async (t) => {
  const { peer, options } = await mailHarbor(t)
  const { dir } = await options()
  await peer({ dir })
  await t.rejects(peer({ dir }), { code: 'KEY_IN_USE' })
})

t.test(
  'in a private registry only who has a grant writes, and whoever has one may be a peer',
  async (t) => {
    const { seed, peer, options, testbed } = await mailHarbor(t, { isPrivate: true })
    const admin = Admin({ seed, bootstrap: testbed.bootstrap, dir: await testbed.dir() })
    t.teardown(() => admin.destroy())
    await admin.setup()
    const [a, b, c] = [KeyPair(), KeyPair(), KeyPair()]
    for (const { publicKey } of [a, b, c]) await admin.grant(publicKey, { consume: ['couchdb'] })
    const { dir } = await options()
    const [alice, bob, carol] = [
      await peer({ keyPair: a }),
      await peer({ keyPair: b }),
      await peer({ keyPair: c, dir })
    ]
    await (await alice.send(bob.key, 'hello')).delivered
    await (await carol.send(bob.key, 'hello')).delivered
    await admin.revoke(c.publicKey)
    await restWhile(() => bob.peers().some(({ key }) => key === carol.key))
    const letter = await carol.send(bob.key, 'hello')
    await restWhile(() => carol.getStats().mail.outbox.failed === 0)
    t.equal(letter.status, 'queued', 'who was put out is not heard')
    t.equal(bob.getStats().mail.inbox.taken, 2)
  }
)

t.test(
  'who is there and cannot be reached is said to be unreachable, until a way is found',
  async (t) => {
    const { peer } = await mailHarbor(t)
    const [alice, bob] = [await peer({ links: false, hops: 0 }), await peer()]
    await restWhile(() => alice.peers().length === 0)
    const letter = await alice.send(bob.key, 'x')
    const receipts = receiptsOf(letter)
    await restWhile(() => receipts.length === 0)
    t.match(receipts[0], { id: letter.id, status: 'unreachable', code: 'LINK_LOST', by: null })
    t.equal(letter.status, 'unreachable')
    t.match(await alice.outbox(), [{ id: letter.id }], 'it is tried again')
    const keeper = await peer({ store: 1024 * 1024 })
    // The mailbox has links: it is told the way by nobody, and brings the letter.
    t.match(await letter.delivered, { status: 'delivered', by: bob.key })
    await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 0)
  }
)

t.test(
  'the writer of a letter that a mailbox brought by way of others hears what became of it',
  async (t) => {
    const { peer } = await mailHarbor(t)
    const [alice, bob] = [await peer({ links: false, hops: 0 }), await peer()]
    await restWhile(() => alice.peers().length === 0)
    const letter = await alice.send(bob.key, 'x')
    const keeper = await peer({ links: false, store: 1024 * 1024 })
    t.match(await letter.delivered, { status: 'delivered', by: bob.key })
    await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 0)
  }
)

t.test(
  'a letter that waits with its writer alone says so, and why, until a mailbox comes',
  async (t) => {
    const { peer } = await mailHarbor(t)
    const alice = await peer()
    const away = await alice.send(KeyPair().publicKey, 'x')
    const heard = receiptsOf(away)
    const roles = receiptsOf(await alice.send('nobody@1.x', 'x'))
    await restWhile(() => heard.length + roles.length < 2)
    t.match(heard, [{ id: away.id, status: 'queued', code: 'NO_MAILBOX', by: null }])
    t.match(roles, [{ status: 'queued', code: 'NO_INSTANCE', by: null }])
    const keeper = await peer({ store: 1024 * 1024 })
    await restWhile(() => heard.length < 2)
    t.match(heard[1], { status: 'queued', code: '', by: keeper.key })
    t.equal(roles.length, 1, 'it is said once')
  }
)

t.test('without links a letter goes by other members, and so does its receipt', async (t) => {
  const { peer } = await mailHarbor(t)
  const [alice, bob] = [await peer({ links: false }), await peer({ links: false })]
  const { messages } = collect(bob)
  for (const n of [1, 2, 3]) {
    const letter = await alice.send(bob.key, n)
    t.match(await letter.delivered, { by: bob.key })
  }
  t.same(
    messages.map(({ body }) => body),
    [1, 2, 3]
  )
  await (await bob.send(alice.key, Buffer.alloc(60 * 1024))).delivered
  t.equal(alice.getStats().links, 0)
})

t.test('each number of mail has a meaning in the metrics', async (t) => {
  const { peer, registry } = await mailHarbor(t)
  const keeper = await peer({ store: 1024 * 1024 })
  const measures = [...keeper.measures(), ...measuresOf('registry', registry.getStats())]
  const ofMail = measures.filter(({ name }) => /_(mail|forwarding)_/.test(name))
  t.ok(ofMail.some(({ name }) => name === 'hyperseaport_registry_forwarding_passed'))
  for (const { name, help } of ofMail) {
    t.not(help, name.slice('hyperseaport_'.length).replaceAll('_', ' '))
  }
})
