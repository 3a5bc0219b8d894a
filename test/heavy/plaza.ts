import { type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'
import type { ClientView, WebOptions } from '../../lib/index.js'
import { freePort } from '../../lib/serving/local-port.js'
import { Harbor, lists } from '../gateway/harbor.js'
import { executablePath, FLAGS } from './chromium.js'
import type { ChatArguments, Told } from './fixtures/chat.js'
import { type Child, start } from './fixtures/child.js'

/** What a page has heard: the event, its data, and when, in ms since 1970. */
// biome-ignore lint/suspicious/noExplicitAny: each event has its own data
export type Heard = [event: string, data: any, at: number]

export interface PlazaOptions {
  /** How many instances the service has. */
  instances?: number
  chat?: Pick<ChatArguments, 'clients' | 'hasPresence'>
  web?: Partial<WebOptions>
  /** Further flags of Chromium. */
  flags?: string[]
}

/** A chat service of some instances and two gateways, each in a process of its own, and Chromiums before them. */
export class Plaza {
  readonly instances: ChatInstance[] = []
  readonly gateways: Gateway[] = []
  readonly #t: Test
  readonly #harbor: Harbor
  readonly #options: PlazaOptions

  private constructor(t: Test, harbor: Harbor, options: PlazaOptions) {
    this.#t = t
    this.#harbor = harbor
    this.#options = options
  }

  static async make(t: Test, options: PlazaOptions = {}): Promise<Plaza> {
    const plaza = new Plaza(t, await Harbor.make(t), options)
    const { instances = 2 } = options
    while (plaza.instances.length < instances) {
      plaza.instances.push(await plaza.startInstance(await plaza.dir()))
    }
    while (plaza.gateways.length < 2) {
      plaza.gateways.push(await plaza.startGateway(await freePort(0)))
    }
    return plaza
  }

  dir(): Promise<string> {
    return this.#harbor.testbed.dir()
  }

  async startInstance(dir: string): Promise<ChatInstance> {
    const args: ChatArguments = { ...this.#where, ...this.#options.chat, dir, role: 'chat@1.0.0' }
    return new ChatInstance(dir, await start(this.#t, './chat.js', [JSON.stringify(args)]))
  }

  /** Resolves once it knows all instances. */
  async startGateway(port: number): Promise<Gateway> {
    const options = { ...this.#where, dir: await this.dir(), port, ...this.#options.web }
    const child = await start<Gateway>(this.#t, './gateway.js', [JSON.stringify(options)])
    const { url } = child.ready
    await lists({ url }, this.instances.length)
    return { url, port, kill: () => child.kill('SIGKILL') }
  }

  /** A Chromium with a profile of its own. */
  async chromium(): Promise<BrowserContext> {
    const { flags = [] } = this.#options
    const context = await chromium.launchPersistentContext(await this.dir(), {
      executablePath,
      args: [...FLAGS, ...flags],
      ignoreHTTPSErrors: true
    })
    this.#t.teardown(() => context.close())
    return context
  }

  get #where() {
    const { registryPublicKey, bootstrap } = this.#harbor.options
    return { registryPublicKey, bootstrap }
  }
}

export interface Gateway {
  url: string
  port: number
  kill: () => Promise<void>
}

/** An instance of the service, in its process. */
export class ChatInstance {
  readonly dir: string
  readonly #child: Child<object>

  constructor(dir: string, child: Child<object>) {
    this.dir = dir
    this.#child = child
  }

  tell(told: Told): Promise<number | undefined> {
    return this.#child.ask('tell', told)
  }

  /** Tells everybody numbers from 1 on. */
  begin(type: string, rate: number): Promise<void> {
    return this.#child.ask('begin', { type, rate })
  }

  /** Resolves with the last number. */
  end(): Promise<number> {
    return this.#child.ask('end')
  }

  list(): Promise<ClientView[]> {
    return this.#child.ask('list')
  }

  kill(): Promise<void> {
    return this.#child.kill('SIGKILL')
  }
}

/** A tab with the page of the chat. */
export class Tab {
  readonly page: Page

  private constructor(page: Page) {
    this.page = page
  }

  /**
   * @param site where the page is loaded from
   * @param gateways where its client connects to: the first, and when that is gone the next
   */
  static async open(
    { context, name, role = 'chat@1.x' }: { context: BrowserContext; name: string; role?: string },
    site: string,
    gateways: readonly string[] = [site]
  ): Promise<Tab> {
    const page = await context.newPage()
    page.setDefaultTimeout(60_000)
    const channels = gateways.map((url) => `${url}channel/${role}`).join()
    await page.goto(`${site}role/chat@1.x/?name=${name}&at=${encodeURIComponent(channels)}`)
    const tab = new Tab(page)
    await tab.until('log.length > 0')
    return tab
  }

  /** What an expression of the page comes to. */
  ask<T>(expression: string): Promise<T> {
    return this.page.evaluate(expression)
  }

  /** Resolves when an expression of the page is true. */
  async until(expression: string) {
    await this.page.waitForFunction(expression, null, { polling: 20 })
  }

  async heard(event: string): Promise<Heard[]> {
    return (await this.ask<Heard[]>('log')).filter(([name]) => name === event)
  }

  /** The data of all messages of a type. */
  async dataOf<T>(type: string): Promise<T[]> {
    return (await this.heard('message')).flatMap(([, message]) =>
      message.type === type ? [message.data] : []
    )
  }

  /** Resolves when it has heard so many messages of a type. */
  untilMessage(type: string, count = 1): Promise<void> {
    return this.until(
      `log.filter(([event, { type }]) => event === 'message' && type === '${type}').length >= ${count}`
    )
  }

  /** Resolves when it is connected now. */
  untilHere(): Promise<void> {
    return this.until('client.isConnected')
  }

  /** Resolves when it has connected so many times. */
  untilConnected(times: number): Promise<void> {
    return this.until(`log.filter(([event]) => event === 'connected').length >= ${times}`)
  }
}
