import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { LiveFeed } from '../../lib/dashboard/live-feed.js'
import { dashboardPages } from '../../lib/dashboard/pages.js'
import { HttpGateway } from '../../lib/gateway/http-gateway.js'
import { InstanceViews } from '../../lib/gateway/instance-views.js'
import { Traffic } from '../../lib/gateway/traffic.js'
import { KeyPair, Service, type ServiceOptions } from '../../lib/index.js'
import { Directory } from '../../lib/registry/replica/directory.js'
import { signRecord } from '../../lib/registry/trust/record.js'
import { Harbor } from '../gateway/harbor.js'
import { slowness } from '../watchdog.js'
import { executablePath, FLAGS, noChromium } from './chromium.js'

/** A frame that takes longer than this is seen to take long. */
const JANK_MS = 200
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
async function open(t: Test, url: string): Promise<Page> {
  const browser: Browser = await chromium.launch({ executablePath, args: FLAGS })
  t.teardown(() => browser.close())
  // axe is put into the page, which its own policy would not let in.
  const page = await browser.newPage({ viewport: { width: 1320, height: 900 }, bypassCSP: true })
  page.setDefaultTimeout(10_000)
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) t.fail(`asked ${request.url()}`)
  })
  page.on('pageerror', (error) => t.fail(error.message))
  await page.goto(url)
  return page
}

/** A schema that takes all, and says what it would take. */
function schemaOf(jsonSchema: object) {
  return {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
    toJSONSchema: () => jsonSchema
  } as const
}

/** By how many pixels the page is wider than the window. */
async function overflow(page: Page): Promise<number> {
  return page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth'
  )
}

/** By how many pixels a table is wider than its place. */
async function hidden(page: Page): Promise<number> {
  return page.evaluate(
    'Math.max(...[...document.querySelectorAll("table")].map(({ parentElement: place }) => place.scrollWidth - place.clientWidth))'
  )
}

/** What axe takes for serious. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  const found = await page.evaluate('axe.run().then(({ violations }) => violations)')
  return (found as { id: string; impact: string; help: string; nodes: { html: string }[] }[])
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html}`)
}

t.test(
  'the dashboard shows services come, roll over and go, within a second',
  { skip: noChromium },
  async (t) => {
    const harbor = await Harbor.make(t)
    const web = await harbor.web()
    const page = await open(t, web.url)
    await page.getByText('Nobody is registered yet').waitFor()

    const answer = (_request: unknown, response: { end(text: string): void }) => response.end('ok')
    const old = await harbor.service('@team/api@1.0.0', answer as never)
    const registeredAt = Date.now()
    await page.getByRole('link', { name: '@team/api' }).waitFor()
    t.ok(Date.now() - registeredAt < 1000, 'seen within a second')
    await harbor.service('@team/api@1.1.0', answer as never)
    await page.getByText('1.1.0', { exact: true }).waitFor()
    const goneAt = Date.now()
    await old.destroy()
    await page.getByText('1.0.0', { exact: true }).waitFor({ state: 'detached' })
    t.ok(Date.now() - goneAt < 2000, 'its end as well')

    for (let i = 0; i < 20; i++) await (await fetch(`${web.url}role/@team/api/`)).text()
    await page.getByText('req/s').waitFor()

    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      t.strictSame(await violations(page), [], `axe, ${colorScheme}`)
    }
    await page.keyboard.press('/')
    await page.keyboard.type('nothing like it')
    await page.getByText('Nothing matches the search').waitFor()
    await page.keyboard.press('Control+A')
    await page.keyboard.press('Delete')
    await page.setViewportSize({ width: 1320, height: 300 })
    await page.getByRole('link', { name: '@team/api' }).focus()
    await page.keyboard.press('Enter')
    const title = page.getByRole('heading', { name: '@team/api', level: 1 })
    await title.waitFor()
    const header = await page.locator('header').boundingBox()
    const top = (await title.boundingBox())?.y ?? 0
    t.ok(header && top >= header.y + header.height, 'the title is below the header')
    await page.getByText('/role/@team/api@%5E1.1.0/').waitFor()
    await page.getByText(/^direct \d/).waitFor()
    const [registrar] = web.getStats().logs
    await page.locator(`.scroller code[title="${registrar?.registrarKey}"]`).waitFor()
    t.strictSame(await violations(page), [], 'axe, a service')
  }
)

t.test(
  'the page of a service calls its commands and shows its state',
  { skip: noChromium },
  async (t) => {
    const harbor = await Harbor.make(t)
    const web = await harbor.web()
    const terms: ServiceOptions = {
      ...harbor.options,
      role: 'agent@1.0.0',
      dir: await harbor.testbed.dir(),
      commands: {
        greet: {
          input: schemaOf({ type: 'object', required: ['name'] }),
          idempotent: true,
          handler: async ({ name }: { name: string }) => {
            await service.state.set('greeted', { name: `<b>${name}</b>` })
            return `hello ${name}`
          }
        },
        fail: () => {
          throw Object.assign(new Error('it cannot'), { code: 'ECANNOT' })
        }
      }
    }
    const service = Service(terms)
    t.teardown(() => service.destroy())
    await service.setup()
    service.events.emit('TICK', 1)
    const page = await open(t, web.url)
    await page.getByRole('link', { name: 'agent' }).click()
    await page.getByText('It has no entries.').waitFor()
    await page.getByText('TICK', { exact: true }).waitFor()
    await page.getByText('may be called twice').waitFor()
    await page.getByText('greet takes').click()
    await page.getByText('"required"').waitFor()

    await page.getByLabel('JSON for greet').fill('{"name":"Ann"}')
    await page.getByRole('button', { name: 'Call greet' }).click()
    await page.getByText('hello Ann').waitFor()
    await page.getByText('<b>Ann</b>').waitFor()
    await page.getByText('1 entry, term 1').waitFor()
    const second = Service({ ...terms, dir: await harbor.testbed.dir() })
    t.teardown(() => second.destroy())
    await second.setup()
    await second.state.set('ofTheSecond', 2)
    await page.getByRole('button', { name: 'Read the state again' }).click()
    await page.getByText('ofTheSecond').waitFor()
    await page.getByText('<b>Ann</b>').waitFor()
    await second.destroy()
    await page.getByText('ofTheSecond').waitFor({ state: 'detached' })
    await page.getByLabel('JSON for greet').fill('{"name":')
    await page.getByRole('button', { name: 'Call greet' }).click()
    await page.getByText(/BAD_INPUT: .*executed: no/).waitFor()
    await page.getByRole('button', { name: 'Call fail' }).click()
    await page.getByText(/COMMAND_FAILED \(ECANNOT\).*it cannot.*executed: yes/).waitFor()
    await service.state.delete('greeted')
    await page.getByRole('button', { name: 'Read the state again' }).click()
    await page.getByText('It has no entries.').waitFor()
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      t.strictSame(await violations(page), [], `axe, ${colorScheme}`)
    }
  }
)

t.test(
  'a phone and a wide window show long names without moving sideways',
  { skip: noChromium },
  async (t) => {
    const harbor = await Harbor.make(t)
    const web = await harbor.web()
    const role = `@${'a-team-whose-name-is-long'}/${'and-a-service-that-says-all-it-does'.repeat(2)}`
    const answer = (_request: unknown, response: { end(text: string): void }) => response.end('ok')
    const tags = ['a-tag-that-goes-on-for-longer-than-a-phone-is-wide=and-its-value']
    await harbor.service(`${role}@1.0.0-${'prerelease'.repeat(6)}`, answer as never, { tags })
    const page = await open(t, web.url)
    const link = page.getByRole('link', { name: role }).first()
    await link.waitFor()
    await page.setViewportSize({ width: 1200, height: 844 })
    t.equal(await hidden(page), 0, 'a wide window shows all columns')
    await page.setViewportSize({ width: 390, height: 844 })
    t.equal(await overflow(page), 0, 'all services')
    await link.click()
    await page.getByText('1.0.0-prerelease').first().waitFor()
    t.equal(await overflow(page), 0, 'one service')
    t.same(await violations(page), [])
  }
)

t.test('a thousand instances come and go without jank', { skip: noChromium }, async (t) => {
  const registry = KeyPair().publicKey
  const directory = new Directory()
  const key = 'ab'.repeat(32)
  directory.setLive(key, true)
  const records = Array.from({ length: 1000 }, (_, i) =>
    signRecord(registry, KeyPair(), {
      role: i < 500 ? 'big' : `role-${i % 60}`,
      version: `1.${i % 3}.0`,
      tags: [],
      status: 'passing',
      direct: [],
      holder: key,
      seq: Date.now()
    })
  )
  directory.apply(
    key,
    records.map((record) => [record.key, record])
  )
  const pool = {
    open: () => Promise.reject(new Error('no link')),
    isSuspect: () => false,
    pathOf: () => null,
    follow: () => ({ seek() {}, stop() {} })
  }
  const traffic = new Traffic()
  const views = new InstanceViews({ directory })
  const feed = new LiveFeed({
    registryPublicKey: key,
    directory,
    views,
    traffic,
    logs: () => [],
    hosted: () => ({ apps: [], hosts: [] }),
    peers: () => 0,
    pathOf: () => null
  })
  const gateway = new HttpGateway({ directory, pool, traffic, pages: dashboardPages(feed) })
  t.teardown(() => gateway.close())
  t.teardown(() => feed.close())
  await gateway.ready()
  feed.open()
  const page = await open(t, `http://127.0.0.1:${gateway.port}/`)
  await page.getByText('1000', { exact: true }).waitFor()

  // A browser that nobody asks anything of drops frames, too, on a machine that has other things to do.
  const idle = await page.evaluate(watchFrames)
  const janks = page.evaluate(watchFrames)
  for (let round = 0; round < 20; round++) {
    const some = records.slice(round * 20, round * 20 + 20)
    directory.retain(
      key,
      new Set(records.filter((record) => !some.includes(record)).map(({ key }) => key))
    )
    await page.waitForFunction(
      `document.querySelector('.counts').textContent.includes('${980} instances')`
    )
    directory.apply(
      key,
      some.map((record) => [record.key, record])
    )
    await page.waitForFunction(
      `document.querySelector('.counts').textContent.includes('${1000} instances')`
    )
  }
  const longest = await janks
  t.comment(`longest frame ${Math.round(longest)} ms, ${Math.round(idle)} ms while nothing came`)
  t.ok(longest < JANK_MS * slowness() + idle, `no frame took long (${longest} ms)`)

  await page.getByRole('link', { name: 'big' }).click()
  await page.getByText('1.2.0 ×').waitFor()
  const rows = await page.locator('.scroller tbody tr').count()
  t.ok(rows < 60, `only ${rows} of 500 rows are in the document`)
  t.strictSame(await violations(page), [], 'axe, 500 instances')
})

/** The longest pause between two frames within 3 s. */
function watchFrames(): Promise<number> {
  return new Promise((resolve) => {
    const startedAt = performance.now()
    let last = startedAt
    let longest = 0
    const onframe = (now: number) => {
      longest = Math.max(longest, now - last)
      last = now
      if (now - startedAt > 3000) resolve(longest)
      else
        (
          globalThis as unknown as { requestAnimationFrame(f: (now: number) => void): void }
        ).requestAnimationFrame(onframe)
    }
    onframe(performance.now())
  })
}
