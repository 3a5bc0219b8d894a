import { once } from 'node:events'
import { createServer, type RequestListener, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { Registry, Service } from '../../lib/index.js'
import { Cli } from './cli.js'

const hello: RequestListener = (request, response) => response.end(`hello from ${request.url}`)

/** A registry, perhaps with a gateway, which the binary runs, and a service hello@1.2.3 in front of a backend. */
export async function harbor(t: Test, registryFlags: string[] = [], answer = hello) {
  const cli = new Cli(t)
  const bootstrap = await cli.island()
  const { registryPublicKey } = cli.seed()
  const registry = cli.start(['registry', '--dir', cli.path('registry'), ...registryFlags])
  await registry.waitForLine('registryPublicKey=')
  const service = await serviceOf(t, cli, { registryPublicKey, bootstrap }, answer)
  return { cli, registry, service, key: service.servicePublicKey, web: webOf(cli) }
}

/** The same, run by this process, where the gateway alone is what is tried. */
export async function localHarbor(t: Test, answer = hello) {
  const cli = new Cli(t)
  const bootstrap = await cli.island()
  const { registrySeed: seed, registryPublicKey } = cli.seed()
  // In an empty folder it would wait for others to say whether it is private.
  const registry = Registry({ seed, bootstrap, dir: cli.path('registry'), private: false })
  t.teardown(() => registry.destroy())
  await registry.setup()
  await serviceOf(t, cli, { registryPublicKey, bootstrap }, answer)
  return { cli, registry, web: webOf(cli) }
}

async function serviceOf(
  t: Test,
  cli: Cli,
  member: { registryPublicKey: string; bootstrap: string },
  answer: RequestListener
): Promise<Service> {
  const port = Number(await backend(t, answer))
  const service = Service({ ...member, role: 'hello@1.2.3', port, dir: cli.path('service') })
  t.teardown(() => service.destroy())
  return service.setup()
}

/** Runs a gateway with these flags, and tells its port. */
function webOf(cli: Cli) {
  let gateways = 0
  return async (...flags: string[]) => {
    const dir = cli.path(`web-${gateways++}`)
    const web = cli.start(['web', '-p', '0', '--dir', dir, ...flags])
    return { web, port: Number(await web.waitForLine('web server listening on port ')) }
  }
}

/** An HTTP server for as long as the test lasts, and its port. */
export async function backend(t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `${(server.address() as AddressInfo).port}`
}

export async function get(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers, redirect: 'manual' })
  return { status: response.status, text: await response.text() }
}

/** The status of an answer to a request for a name. */
export async function statusFor(port: number, host: string): Promise<number> {
  const asking = request({ port, host: '127.0.0.1', headers: { host } })
  asking.end()
  const [answer] = await once(asking, 'response')
  answer.resume()
  return answer.statusCode
}
