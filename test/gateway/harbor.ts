import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo, Server as TcpServer } from 'node:net'
import type { Test } from 'tap'
import { makeHttp2Server } from '../../lib/gateway/gateway-server.js'
import {
  KeyPair,
  Registry,
  Service,
  type ServiceTerms,
  Web,
  type WebOptions
} from '../../lib/index.js'
import { restWhile } from '../rest.js'
import { Testbed } from '../testbed.js'

/** A registry of one test, with HTTP services and gateways in this process. */
export class Harbor {
  readonly testbed: Testbed
  readonly registry: Registry
  readonly #t: Test

  private constructor(t: Test, testbed: Testbed, registry: Registry) {
    this.#t = t
    this.testbed = testbed
    this.registry = registry
  }

  static async make(t: Test): Promise<Harbor> {
    const testbed = await Testbed.make(t)
    const { bootstrap } = testbed
    const registry = Registry({
      seed: KeyPair().publicKey,
      dir: await testbed.dir(),
      bootstrap,
      private: false
    })
    t.teardown(() => registry.destroy())
    await registry.setup()
    return new Harbor(t, testbed, registry)
  }

  get options() {
    return {
      registryPublicKey: this.registry.registryPublicKey,
      bootstrap: this.testbed.bootstrap
    }
  }

  /** A backend that answers like this. */
  async backend(listener: RequestListener): Promise<Server> {
    const server = createServer(listener)
    await listen(this.#t, server)
    return server
  }

  /** Registers a backend, and waits until the gateway knows it. */
  async service(
    role: string,
    backend: RequestListener | number,
    options: Partial<ServiceTerms> = {}
  ): Promise<Service> {
    const port = typeof backend === 'number' ? backend : portOf(await this.backend(backend))
    const dir = await this.testbed.dir()
    const service = Service({ ...this.options, role, port, dir, ...options })
    this.#t.teardown(() => service.destroy())
    await service.setup()
    return service
  }

  async web(options: Partial<WebOptions> = {}): Promise<Web> {
    const web = Web({ ...this.options, dir: await this.testbed.dir(), ...options })
    this.#t.teardown(() => web.destroy())
    await web.setup()
    return web
  }
}

/** Resolves when a gateway lists so many instances. */
export async function lists(web: { url: string }, count: number): Promise<void> {
  const listed = async () => (await (await fetch(`${web.url}list/`)).json()) as unknown[]
  await restWhile(async () => (await listed()).length !== count)
}

export async function listen(t: Test, server: Server | TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  return portOf(server)
}

/** A connection over HTTP/2 in clear text to a server that emits its requests, and nothing else. */
export async function http2Pair(t: Test) {
  const server = makeHttp2Server(32 * 1024)
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(() => session.destroy())
  return { server, session }
}

export function portOf(server: Server | TcpServer): number {
  return (server.address() as AddressInfo).port
}
