import t from 'tap'
import { type Client, connect } from '../../lib/client/node.js'
import { upTo } from './conversation.js'
import { Plaza } from './plaza.js'
import { untilNothing } from './until.js'

const PAGES = 500
/** Broadcasts a second. */
const RATE = 20
const PATIENCE_MS = 60_000

t.test(
  'a gateway is killed and started again, and of 500 pages that come back at once each is resumed and hears all, in order, and once',
  { timeout: 240_000 },
  async (t) => {
    const plaza = await Plaza.make(t, { instances: 1, chat: { hasPresence: false } })
    const [instance] = plaza.instances
    const [gateway] = plaza.gateways
    if (!instance || !gateway) throw new Error('there are both')
    const pages = Array.from({ length: PAGES }, (_, i) => new CrowdPage(gateway.url, `page ${i}`))
    t.teardown(() => pages.map(({ client }) => client.close()))
    const allOf = (isSo: (page: CrowdPage) => boolean, what: string) =>
      untilNothing(async () => {
        const count = pages.filter((page) => !isSo(page)).length
        return count === 0 ? null : `${count} pages ${what}`
      }, PATIENCE_MS)
    await allOf(({ connected }) => connected.length === 1, 'are not here')
    await instance.begin('number', RATE)
    await allOf(({ numbers }) => numbers.length > RATE, 'hear nothing')
    await gateway.kill()
    await allOf(({ client }) => !client.isConnected, 'have not noticed')
    await plaza.startGateway(gateway.port)
    const startedAt = performance.now()
    await allOf(({ client }) => client.isConnected, 'are not back')
    t.comment(`all are back in ${Math.round(performance.now() - startedAt)} ms`)
    const last = await instance.end()
    await instance.tell({ type: 'done' })
    await allOf(({ isDone }) => isDone, 'have not heard the last')
    const heard = pages.map(({ numbers }) => numbers.join())
    const first = pages.map(({ numbers }) => numbers[0] as number)
    t.same(
      heard.filter(
        (text, i) =>
          text !==
          upTo(last)
            .slice((first[i] as number) - 1)
            .join()
      ),
      [],
      'nothing is missed or comes twice'
    )
    // Whose instance is away from the registry for a moment may be told so, and hears all of it all the same.
    const told = pages.filter(({ missed }) => missed.length > 0)
    t.comment(`${told.length} were told that they may have missed some, after ${told[0]?.missed}`)
    t.equal(pages.filter(({ connected }) => connected.join() !== 'false,true').length, 0, 'resumed')
  }
)

/** A page of the crowd, and what it heard. */
class CrowdPage {
  readonly client: Client
  readonly numbers: number[] = []
  /** Whether it was resumed, each time that it connected. */
  readonly connected: boolean[] = []
  /** How many numbers it had heard when it was told that it missed some. */
  readonly missed: number[] = []
  isDone = false

  constructor(url: string, token: string) {
    this.client = connect(`${url}channel/chat@1.x`, { token, backoffs: [0, 100] })
    this.client.on('number', (n: number) => void this.numbers.push(n))
    this.client.on('connected', ({ resumed }: { resumed: boolean }) => {
      this.connected.push(resumed)
    })
    this.client.on('missed', () => {
      this.missed.push(this.numbers.length)
    })
    this.client.on('done', () => {
      this.isDone = true
    })
  }
}
