import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import { listen } from '../gateway/harbor.js'
import { restWhile } from '../rest.js'
import { inTime } from '../watchdog.js'
import { type ChatInstance, type Plaza, Tab } from './plaza.js'

const MIB = 1024 * 1024
const AT_ONCE_MS = 1000
/** Broadcasts a second of each of the two instances. */
export const RATE = 50
const SOME_MS = 1000
export const STRANGER = 'evil.com'

/**
 * Two tabs of one Chromium as one client, and another Chromium with a profile of its own, use all that a channel has.
 *
 * @param sites the URLs of two gateways, as pages see them
 */
export async function converse(t: Test, plaza: Plaza, [one, two]: readonly [string, string]) {
  const [mine, theirs] = [await plaza.chromium(), await plaza.chromium()]
  const bob = await Tab.open({ context: theirs, name: 'bob' }, two, [two, one])
  const ada = await Tab.open({ context: mine, name: 'ada' }, one, [one, two])
  const other = await Tab.open({ context: mine, name: 'ada' }, two, [two, one])
  const tabs = { ada, other, bob }
  for (const [name, tab] of Object.entries(tabs)) {
    const id = name === 'bob' ? 'bob' : 'ada'
    t.match(
      (await tab.heard('connected')).map(([, data]) => data),
      [{ id, resumed: false }]
    )
  }
  for (const instance of plaza.instances) {
    const sessions = async () =>
      (await instance.list()).reduce((sum, { sessions }) => sum + sessions, 0)
    await restWhile(async () => (await sessions()) < 3)
  }

  for (const [i, instance] of plaza.instances.entries()) {
    const data = `${i}:{"a":"b"}`
    t.equal(await instance.tell({ type: 'direct', id: 'ada', data }), 2)
    await instance.tell({ type: 'all', data })
    await instance.tell({ type: 'big', bytes: MIB })
    await instance.tell({ type: `end${i}` })
  }
  for (const [name, tab] of Object.entries(tabs)) {
    for (const i of plaza.instances.keys()) await tab.untilMessage(`end${i}`)
    const both = ['0:{"a":"b"}', '1:{"a":"b"}']
    const [direct, all] = [await tab.dataOf<string>('direct'), await tab.dataOf<string>('all')]
    t.strictSame(direct.toSorted(), name === 'bob' ? [] : both, `${name} heard what is for ada`)
    t.strictSame(all.toSorted(), both, `${name} heard what is for all`)
    const big = `log.filter(([event, { type, data }]) =>
      event === 'message' && type === 'big' && data.length === ${MIB} && data.every((byte) => byte === 7)).length`
    t.equal(await tab.ask(big), 2, `${name} heard bytes`)
  }

  t.equal(await ada.ask("client.call('add', { a: 1, b: 2 })"), 3)
  t.equal(await ada.ask(`client.send('echo', 'a:b:{"c"}\\n::')`), 'a:b:{"c"}\n::')
  const bytes = "client.send('echo', new Uint8Array([0, 255, 58])).then((bytes) => [...bytes])"
  t.strictSame(await bob.ask(bytes), [0, 255, 58])
  const most = `client.send('echo', new Uint8Array(${MIB}).fill(9)).then(({ length }) => length)`
  t.equal(await bob.ask(most), MIB)
  const text = `client.send('echo', 'x'.repeat(${MIB} - 2)).then(({ length }) => length)`
  t.equal(await other.ask(text), MIB - 2)

  const broadcast = "client.broadcast('theirs', 7).then(() => 'told', ({ code }) => code)"
  t.equal(await ada.ask(broadcast), 'NOT_ALLOWED')
  t.equal(await bob.ask(broadcast), 'told')
  for (const tab of Object.values(tabs)) {
    await tab.untilMessage('theirs')
    t.strictSame(await tab.dataOf('theirs'), [7])
  }

  for (const [sessions, tab] of [
    [1, other],
    [0, ada]
  ] as const) {
    const leftAt = Date.now()
    await tab.page.close()
    await bob.until(`${presenceOf('ada')}.at(-1) === ${sessions}`)
    const at = (await bob.heard('presence')).at(-1)?.[2] ?? Infinity
    t.ok(inTime(at - leftAt, AT_ONCE_MS), `known ${at - leftAt} ms after a tab was closed`)
  }
  t.strictSame(await bob.ask(presenceOf('ada')), [1, 2, 1, 0])
  t.strictSame(await bob.heard('missed'), [])
}

/** Two tabs of one Chromium as one client, and one of another. */
export async function threeTabs(plaza: Plaza, one: string, two: string): Promise<Tab[]> {
  const [context, other] = [await plaza.chromium(), await plaza.chromium()]
  return [
    await Tab.open({ context, name: 'ada' }, one, [one, two]),
    await Tab.open({ context, name: 'ada' }, two, [two, one]),
    await Tab.open({ context: other, name: 'bob' }, one, [one, two])
  ]
}

/**
 * Two instances broadcast 100 numbers a second while each gateway is killed in turn. Every tab hears each once and in
 * order.
 */
export async function outliveGateways(t: Test, plaza: Plaza, tabs: readonly Tab[]) {
  const [first, second] = plaza.instances as [ChatInstance, ChatInstance]
  await first.begin('first', RATE)
  await second.begin('second', RATE)
  await setTimeout(SOME_MS)
  for (const [i, gateway] of plaza.gateways.entries()) {
    await gateway.kill()
    await setTimeout(SOME_MS)
    for (const tab of tabs) await tab.untilHere()
    plaza.gateways[i] = await plaza.startGateway(gateway.port)
  }
  await setTimeout(SOME_MS)
  const sent = { first: await first.end(), second: await second.end() }
  for (const instance of plaza.instances) await instance.tell({ type: 'done' })
  let connections = 0
  for (const [i, tab] of tabs.entries()) {
    await tab.untilMessage('done', 2)
    for (const [type, count] of Object.entries(sent)) {
      t.ok(count > RATE, `${count} were sent`)
      t.strictSame(await tab.dataOf(type), upTo(count), `${type} at tab ${i}`)
    }
    t.strictSame(await tab.heard('missed'), [])
    const [first, ...more] = (await tab.heard('connected')).map(([, { resumed }]) => resumed)
    t.ok(!first && more.every(Boolean), 'its session went on')
    connections += more.length
  }
  t.ok(connections >= tabs.length, `${connections} times a tab came back`)
}

/** The code with which a page of a stranger's is turned away from a channel. */
export async function codeOfStranger(t: Test, plaza: Plaza, site: string): Promise<number> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>x</title>')
  })
  const page = await (await plaza.chromium()).newPage()
  await page.goto(`http://${STRANGER}:${await listen(t, server)}/`)
  return page.evaluate(`new Promise((resolve) => {
    const url = '${site.replace('http', 'ws')}channel/chat@1.x'
    const socket = new WebSocket(url, 'hyperseaport.channel.1')
    socket.onopen = () => socket.send('{"t":"connect","token":"ada"}')
    socket.onmessage = ({ data }) => resolve(data)
    socket.onclose = ({ code }) => resolve(code)
  })`)
}

/** The numbers from 1 on. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1)
}

function presenceOf(id: string): string {
  return `log.flatMap(([event, { id, sessions }]) =>
    event === 'presence' && id === '${id}' ? [sessions] : [])`
}
