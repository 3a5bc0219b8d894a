import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import {
  Consumer,
  type DirectoryChange,
  Registry,
  type RegistryOptions,
  Service,
  type ServiceTerms
} from '../../lib/index.js'
import { Cli, type Running } from './cli.js'

const RETRY_MS = 50

/** An instance as `list --json` shows it. */
export interface Listed {
  role: string
  version: string
  servicePublicKey: string
  status: string
  reason?: string
  live: boolean
}

/** A registry, run with these flags, and what is needed to use it, all configured as a user would: by a file. */
export async function registryOf(t: Test, ...registryFlags: string[]) {
  const { cli, start, ...island } = await preparedFor(t)
  const registry = cli.start(['registry', ...registryFlags])
  const running = {
    ...start,
    registry,
    async aRegistry(...flags: string[]): Promise<Running> {
      running.registry = cli.start(['registry', ...flags])
      await running.registry.waitForLine('registryPublicKey=')
      return running.registry
    }
  }
  await registry.waitForLine('registryPublicKey=')
  return { ...island, cli, start: running, registry }
}

/** The same with a registry that this process runs: a binary less to start, where that is not what is tried. */
export async function islandOf(t: Test, options: Partial<RegistryOptions> = {}) {
  const island = await preparedFor(t)
  const { cli, bootstrap, registrySeed: seed } = island
  const dir = cli.path('registry')
  // In an empty folder it would wait for others to say whether it is private.
  const registry = Registry({ seed, bootstrap, dir, private: false, ...options })
  t.teardown(() => registry.destroy())
  await registry.setup()
  return { ...island, registry }
}

/** @param given the nodes of a DHT that is not to be started here */
export async function preparedFor(t: Test, cli = new Cli(t), given?: string) {
  const bootstrap = given ?? (await cli.island())
  if (given) cli.setEnv('HYPERSEAPORT_BOOTSTRAP', given)
  const { registrySeed, registryPublicKey } = cli.seed()
  let statusCode = 200
  const backend = createServer((_, response) => {
    response.statusCode = statusCode
    response.end('hello')
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { port } = backend.address() as AddressInfo

  let services = 0
  const start = {
    port,
    /** What the backend answers with from now on. */
    answer(status: number) {
      statusCode = status
    },
    async service(role: string, ...flags: string[]): Promise<Running> {
      const dir = cli.path(`service-${services++}`)
      const service = cli.start(['service', '-p', `${port}`, '-r', role, '--dir', dir, ...flags])
      await service.waitForLine('registered service')
      return service
    },
    /** The same, run by this process, where the binary is not what is tried. */
    async instance(role: string, options: Partial<ServiceTerms> = {}): Promise<Service> {
      const dir = cli.path(`service-${services++}`)
      const service = Service({ registryPublicKey, bootstrap, role, port, dir, ...options })
      t.teardown(() => service.destroy())
      await service.setup()
      return service
    },
    /** All changes that a reader in this process sees, from now on. */
    async reader(): Promise<DirectoryChange[]> {
      const consumer = Consumer([], { registryPublicKey, bootstrap, dir: cli.path('reader') })
      t.teardown(() => consumer.destroy())
      await consumer.setup()
      const changes: DirectoryChange[] = []
      consumer.watch((change) => changes.push(change))
      return changes
    },
    async proxy(role: string, ...flags: string[]): Promise<{ proxy: Running; port: number }> {
      const proxy = cli.start(['proxy', '-p', '0', '-r', role, ...flags])
      return { proxy, port: Number.parseInt(await proxy.waitForLine('proxy from  '), 10) }
    },
    /** A watch that has seen what is there. */
    async watch(): Promise<Running> {
      const watch = cli.start(['watch', '--json'])
      await watch.waitForLine('{"change":"up"')
      return watch
    }
  }
  return { cli, start, bootstrap, registrySeed, registryPublicKey }
}

export async function list(cli: Cli): Promise<Listed[]> {
  const { code, stdout, stderr } = await cli.ask(['list', '--json'])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

export async function get(port: number, path = ''): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
    headers: { connection: 'close' }
  })
  return response.text()
}

/** What is answered at last: a proxy hears of a service that is back a moment after that one does. */
export async function answered(port: number, path = ''): Promise<string> {
  for (;;) {
    try {
      return await get(port, path)
    } catch {
      await setTimeout(RETRY_MS)
    }
  }
}
