import t from 'tap'
import { connect } from '../../lib/client/node.js'
import { type ChatInstance, Plaza } from './plaza.js'

const HOUR_MS = 60 * 60_000

t.test(
  'what was kept for a client outlives the process that is killed, and comes through any gateway: in order, and once',
  async (t) => {
    const plaza = await Plaza.make(t, { instances: 1 })
    const [one, two] = plaza.gateways as [Plaza['gateways'][0], Plaza['gateways'][0]]
    const tell = (instance: ChatInstance, data: number) =>
      instance.tell({ type: 'number', id: 'ada', data, ttl: HOUR_MS })
    const [before] = plaza.instances as [ChatInstance]
    for (let n = 1; n <= 40; n++) await tell(before, n)
    await before.kill()
    const after = await plaza.startInstance(before.dir)
    for (let n = 41; n <= 50; n++) await tell(after, n)

    const got: number[] = []
    let wake = () => {}
    const client = connect(
      [one, two].map(({ url }) => `${url}channel/chat@1.x`),
      { token: 'ada', backoffs: [0, 100] }
    )
    t.teardown(() => client.close())
    client.on('number', (n) => {
      got.push(n)
      wake()
    })
    const until = async (count: number) => {
      while (got.length < count) await new Promise<void>((resolve) => (wake = resolve))
    }
    await until(50)
    const away = new Promise((resolve) => client.on('disconnected', resolve))
    await one.kill()
    await away
    for (let n = 51; n <= 60; n++) await tell(after, n)
    await until(60)
    t.same(
      got,
      Array.from({ length: 60 }, (_, i) => i + 1)
    )
    await client.send('hi')
    const last = connect(`${two.url}channel/chat@1.x`, { token: 'ada' })
    t.teardown(() => last.close())
    const more: unknown[] = []
    last.on('direct', (message) => more.push(message))
    await last.send('hi')
    await last.send('again')
    t.same(more, [], 'another page is told nothing that was heard')
  }
)
