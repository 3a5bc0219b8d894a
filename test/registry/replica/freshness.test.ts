import { once } from 'node:events'
import t from 'tap'
import { Consumer } from '../../../lib/consumer.js'
import { restWhile } from '../../rest.js'
import { Testbed } from '../../testbed.js'

t.test(
  'a consumer knows which registrars are alive, and when it last heard of the others',
  async (t) => {
    const testbed = await Testbed.make(t)
    const [first, second] = [await testbed.registrar(), await testbed.registrar()]
    const owner = await testbed.replica()
    await testbed.lease(owner)
    const before = Date.now()
    const consumer = Consumer([], {
      registryPublicKey: testbed.keyPair.publicKey,
      bootstrap: testbed.bootstrap,
      dir: await testbed.dir()
    })
    t.teardown(() => consumer.destroy())
    await consumer.setup()
    while (consumer.getStats().registrars < 2) await once(consumer, 'registrar')
    t.match(consumer.getStats(), { registrars: 2, behind: 0 })

    const lost = first.replica.key
    t.match(second.replica.logs(), [{ live: true }, { live: true }])
    await testbed.close(first)
    await restWhile(() => consumer.getStats().registrars > 1)
    const { logs } = consumer.getStats()
    const away = logs.find(({ registrarKey }) => registrarKey === lost)
    t.match(away, { live: false, behind: 0 })
    t.ok((away?.heardAt ?? 0) >= before && (away?.heardAt ?? 0) <= Date.now())
    t.match(
      logs.filter(({ registrarKey }) => registrarKey !== lost),
      [{ live: true }]
    )
  }
)

t.test('a copy that cannot be completed says how much of it is missing', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  await testbed.lease(owner)
  const reader = await testbed.replica()
  await reader.synced()
  const [peer] = reader.registrars
  const length = registrar.replica.logs()[0]?.applied ?? 0
  t.equal(reader.behind, 0)
  peer?.emit('ping', { interval: 100, length: length + 3 })
  t.equal(reader.behind, 3)
  t.match(reader.logs(), [{ behind: 3, applied: length, offered: length + 3 }])
})
