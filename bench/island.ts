import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { randomSeed, toHex } from '../lib/core/keys.js'
import { Child, run } from './child.js'

const PROGRAM = resolve(import.meta.dirname, '../bin/hyperseaport.js')
const LOOPBACK = '127.0.0.1'
const RESTART_TIMEOUT_MS = 120_000

/** A private DHT with a registry on loopback, and a folder for everything; each part a process. */
export class Island {
  readonly dir = mkdtempSync(join(tmpdir(), 'hyperseaport-bench-'))
  readonly #env: NodeJS.ProcessEnv
  readonly #profiles: string | null
  #bootstrap = ''
  #registryPublicKey = ''
  #registry: Child | null = null
  #registryArgs: string[] = []
  #folders = 0

  private constructor(profiles: string | null) {
    this.#profiles = profiles
    // Nothing of this machine's configuration.
    const kept = Object.entries(process.env).filter(
      ([name]) => !/^(hyperseaport_|xdg_)/i.test(name)
    )
    this.#env = { ...Object.fromEntries(kept), HOME: this.dir, HYPERSEAPORT_OFFLINE: '1' }
    process.on('exit', () => {
      // Those that wrote to it were killed a moment ago.
      rmSync(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    })
  }

  static async make(profiles: string | null): Promise<Island> {
    const island = new Island(profiles)
    const node = island.seaport('bootstrap', ['--port', '0'])
    island.#bootstrap = await node.waitForLine('bootstrap=')
    island.#env.HYPERSEAPORT_BOOTSTRAP = island.#bootstrap
    await island.#startRegistry()
    return island
  }

  get bootstrap(): string {
    return this.#bootstrap
  }

  get registryPublicKey(): string {
    return this.#registryPublicKey
  }

  /** A folder of one process. */
  folder(): string {
    const folder = join(this.dir, `${this.#folders++}`)
    mkdirSync(folder)
    return folder
  }

  /** Starts the real binary. */
  seaport(verb: string, args: string[], name = verb): Child {
    const profile = this.#profiles
      ? [
          '--cpu-prof',
          '--cpu-prof-dir',
          this.#profiles,
          '--cpu-prof-name',
          `${name}-${Date.now()}.cpuprofile`
        ]
      : []
    return new Child(process.execPath, [...profile, PROGRAM, verb, ...args], {
      name: `hyperseaport ${name}`,
      env: this.#env,
      cwd: this.dir
    })
  }

  /** Starts one of our own processes: a file in actors/. */
  actor(file: string, args: (string | number)[], name = file): Child {
    const path = resolve(import.meta.dirname, `actors/${file}.js`)
    return new Child(process.execPath, [path, ...args.map(String)], { name, env: this.#env })
  }

  /** Starts a backend, and returns it with its port. */
  async backend(name: string): Promise<{ child: Child; port: number }> {
    const child = this.actor('backend', [name], `backend ${name}`)
    return { child, port: Number(await child.waitForLine('port=')) }
  }

  /** Whether a verb of the binary knows a flag. */
  async knows(verb: string, flag: string): Promise<boolean> {
    const lines = await run(process.execPath, [PROGRAM, verb, '--help'], this.#env)
    return lines.some((line) => line.includes(flag))
  }

  get registry(): Child {
    if (!this.#registry) throw new Error('the registry does not run')
    return this.#registry
  }

  /** Kills the registry, and starts it again on its folder. Resolves when it can be found. */
  async restartRegistry() {
    await this.registry.stop('SIGKILL')
    this.#registry = this.seaport('registry', this.#registryArgs)
    await this.#registry.waitForLine('registryPublicKey=', RESTART_TIMEOUT_MS)
  }

  async #startRegistry() {
    const seed = join(this.dir, 'seed')
    writeFileSync(seed, toHex(randomSeed()))
    const unlimited = ['--maxRate', '1000000', '--maxServices', '1000000']
    this.#registryArgs = ['--registrySeed', `@${seed}`, '--dir', this.folder(), ...unlimited]
    const registry = this.seaport('registry', this.#registryArgs)
    this.#registry = registry
    this.#registryPublicKey = await registry.waitForLine('registryPublicKey=')
    this.#env.HYPERSEAPORT_REGISTRY_PUBLIC_KEY = this.#registryPublicKey
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('not a TCP port')
  return address.port
}
