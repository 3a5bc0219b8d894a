import { once } from 'node:events'
import { createServer, type RequestListener, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { Cli } from './cli.js'

const hello: RequestListener = (request, response) => response.end(`hello from ${request.url}`)

/** A registry, perhaps with a gateway, and a service hello@1.2.3 in front of a backend. */
export async function harbor(t: Test, registryFlags: string[] = [], answer = hello) {
  const cli = new Cli(t)
  await cli.island()
  cli.seed()
  const registry = cli.start(['registry', '--dir', cli.path('registry'), ...registryFlags])
  await registry.waitForLine('registryPublicKey=')
  const args = ['-p', await backend(t, answer), '-r', 'hello@1.2.3', '--dir', cli.path('service')]
  const service = cli.start(['service', ...args])
  const key = await service.waitForLine('started p2p service on ')
  await service.waitForLine('registered service')
  let gateways = 0
  return {
    cli,
    registry,
    service,
    key,
    /** A gateway with these flags, and its port. */
    async web(...flags: string[]) {
      const dir = cli.path(`web-${gateways++}`)
      const web = cli.start(['web', '-p', '0', '--dir', dir, ...flags])
      return { web, port: Number(await web.waitForLine('web server listening on port ')) }
    }
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
