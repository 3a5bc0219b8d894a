import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { noChromium } from './chromium.js'
import {
  codeOfStranger,
  converse,
  outliveGateways,
  RATE,
  STRANGER,
  threeTabs,
  upTo
} from './conversation.js'
import { type ChatInstance, Plaza, Tab } from './plaza.js'

const skip = noChromium
const SOME_MS = 1000
/** A ring that keeps some twenty numbers. */
const SMALL_RING_BYTES = 8000

t.setTimeout(300_000)

t.test(
  'two tabs and another Chromium talk with a service of two instances, through two gateways',
  { skip },
  async (t) => {
    const plaza = await Plaza.make(t)
    const [one, two] = plaza.gateways.map(({ url }) => url) as [string, string]
    await converse(t, plaza, [one, two])
  }
)

t.test(
  'each gateway is killed in turn under 100 broadcasts a second, and every page hears each once and in order',
  { skip },
  async (t) => {
    const plaza = await Plaza.make(t)
    const [one, two] = plaza.gateways.map(({ url }) => url) as [string, string]
    const tabs = await threeTabs(plaza, one, two)
    await outliveGateways(t, plaza, tabs)
    const [list] = await Promise.all(plaza.instances.map((instance) => instance.list()))
    t.match(
      list?.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      [
        { id: 'ada', sessions: 2, away: 0 },
        { id: 'bob', sessions: 1, away: 0 }
      ]
    )
  }
)

t.test(
  'an instance is killed, and each page is told once that it may have missed some of its messages, and hears all of the other',
  { skip },
  async (t) => {
    const plaza = await Plaza.make(t)
    const [one, two] = plaza.gateways.map(({ url }) => url) as [string, string]
    const tabs = await threeTabs(plaza, one, two)
    const [first, second] = plaza.instances as [ChatInstance, ChatInstance]
    await first.begin('first', RATE)
    await second.begin('second', RATE)
    await setTimeout(SOME_MS)
    await second.kill()
    await Promise.all(tabs.map((tab) => tab.until("log.some(([event]) => event === 'missed')")))
    plaza.instances[1] = await plaza.startInstance(second.dir)
    await plaza.instances[1].begin('third', RATE)
    await setTimeout(SOME_MS)
    const sent = { first: await first.end(), third: await plaza.instances[1].end() }
    for (const instance of plaza.instances) await instance.tell({ type: 'done' })
    for (const tab of tabs) {
      await tab.untilMessage('done', 2)
      for (const [type, count] of Object.entries(sent)) {
        t.strictSame(await tab.dataOf(type), upTo(count), type)
      }
      const heard = await tab.dataOf('second')
      t.strictSame(heard, upTo(heard.length), 'no hole in what was heard of the dead one')
      const missed = (await tab.heard('missed')).map(([, data]) => data)
      t.strictSame(missed, [{ count: null }])
      t.equal((await tab.heard('connected')).length, 1, 'the connection itself was not lost')
    }
  }
)

t.test(
  'while all gateways are away the ring loses some, and each page is told how many',
  { skip },
  async (t) => {
    const plaza = await Plaza.make(t, {
      instances: 1,
      chat: { clients: { maxBytes: SMALL_RING_BYTES }, hasPresence: false }
    })
    const [one, two] = plaza.gateways.map(({ url }) => url) as [string, string]
    const tabs = await threeTabs(plaza, one, two)
    const [instance] = plaza.instances as [ChatInstance]
    await instance.tell({ type: 'number', data: 0 })
    for (const tab of tabs) await tab.untilMessage('number')
    for (const gateway of plaza.gateways) await gateway.kill()
    for (let number = 1; number <= 100; number++)
      await instance.tell({ type: 'number', data: number })
    for (const { port } of plaza.gateways) await plaza.startGateway(port)
    await instance.tell({ type: 'done' })
    for (const tab of tabs) {
      await tab.untilMessage('done')
      const [first, ...more] = await tab.heard('missed')
      const count: number = first?.[1].count
      t.strictSame(more, [])
      t.ok(count > 50 && count < 100, `${count} are missed`)
      const numbers = await tab.dataOf<number>('number')
      t.strictSame(numbers, [0, ...upTo(100).slice(count)], 'and all others are heard')
    }
  }
)

t.test("a refused page learns one code, and a stranger's page none", { skip }, async (t) => {
  const plaza = await Plaza.make(t, { flags: [`--host-resolver-rules=MAP ${STRANGER} 127.0.0.1`] })
  const [one] = plaza.gateways.map(({ url }) => url) as [string]
  const context = await plaza.chromium()
  const refused = await Tab.open({ context, name: '' }, one)
  const final = [{ code: 4003, isFinal: true }]
  const codes = async (tab: Tab) => (await tab.heard('disconnected')).map(([, data]) => data)
  t.strictSame(await codes(refused), final, 'the service refuses it')
  const unknown = await Tab.open({ context, name: 'ada', role: 'nobody@1.x' }, one)
  t.strictSame(await codes(unknown), final, 'there is no such service')

  t.equal(await codeOfStranger(t, plaza, one), 1006, 'a stranger is not let in')
  t.strictSame(await plaza.instances[0]?.list(), [])
})
