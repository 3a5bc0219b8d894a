import { resolve } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import t from 'tap'
import { freePort } from '../../lib/serving/local-port.js'
import { islandOf } from '../bin/island.js'
import { executablePath, FLAGS, noChromium } from './chromium.js'

const EXAMPLES = resolve(import.meta.dirname, '../../../examples')

t.setTimeout(120_000)

t.test(
  'two pages of the chat room talk through two gateways, and go on through one when the other is killed',
  { skip: noChromium },
  async (t) => {
    const { cli, registryPublicKey } = await islandOf(t)
    const ports = [await freePort(0), await freePort(0)]
    const gateways = []
    for (const port of ports) {
      const dir = cli.path(`gateway-${port}`)
      const gateway = cli.start(['web', '--port', String(port), '--dir', dir])
      await gateway.waitForLine('web server listening on port ')
      gateways.push(gateway)
    }
    const urls = ports.map((port) => `http://127.0.0.1:${port}`)
    const program = resolve(EXAMPLES, 'chat-room/server.js')
    const server = cli.start([registryPublicKey, ...urls], { program })
    await server.waitForLine('the room is open at ')

    const browser = await chromium.launch({ executablePath, args: FLAGS })
    t.teardown(() => browser.close())
    const open = async (url: string | undefined, name: string) => {
      const page = await browser.newPage()
      page.setDefaultTimeout(60_000)
      const address = `${url}/role/chat@1.x/?name=${name}`
      // The gateway may not know the service yet.
      while ((await page.goto(address))?.status() !== 200) await page.waitForTimeout(100)
      return page
    }
    const [ada, bob] = [await open(urls[0], 'ada'), await open(urls[1], 'bob')]
    const says = async (page: Page, text: string) => {
      await page.fill('input[name=text]', text)
      await page.click('button')
    }
    const hears = (page: Page, line: string) => page.getByText(line, { exact: true }).waitFor()
    const sees = (page: Page, people: string) =>
      page.waitForFunction(`document.querySelector('output').textContent === '${people}'`)
    await Promise.all([sees(ada, 'ada, bob'), sees(bob, 'ada, bob')])
    await says(bob, 'hello: {all}')
    await hears(ada, 'bob: hello: {all}')

    await gateways[0]?.kill('SIGKILL')
    await says(bob, 'are you there?')
    await hears(ada, 'bob: are you there?')
    await says(ada, 'yes')
    await hears(bob, 'ada: yes')
    t.same(await ada.locator('li').allTextContents(), [
      ...['bob: hello: {all}', 'bob: are you there?', 'ada: yes']
    ])
    await bob.close({ runBeforeUnload: true })
    await sees(ada, 'ada')
    await ada.close()
    t.match(await server.kill('SIGTERM'), { code: 0, stderr: '' })
  }
)
