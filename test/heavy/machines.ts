import { resolve } from 'node:path'
import type { Test } from 'tap'
import { Cli } from '../bin/cli.js'
import { type Child, start } from './fixtures/child.js'
import type { RegistrarArguments } from './fixtures/registrar.js'
import { Hosts } from './hosts.js'
import { type Marked, marked } from './marked.js'

/** A program that costs next to nothing, and ends with this process. */
export const IDLE = ['tail', '-f', '/dev/null', `--pid=${process.pid}`]
const DHT_NODE = resolve(import.meta.dirname, 'fixtures/dht-node.js')
const DHT_PORT = 49737
/** A tenth of what they are otherwise, or more where this machine has to be in time for them; in ms. */
const REGISTRAR_TIMES = { heartbeat: 200, returnGrace: 150, restartGrace: 1000, staleGrace: 6000 }
const HOST_TIMES = {
  ...{ sameOthers: 300, lost: 200, quiet: 1000, lostSingle: 3000, graceSingle: 2000 },
  declines: [3000, 6000, 12_000]
}
const CHECK_INTERVAL_MS = 200
const DRAIN_MS = 200

/** A place in the network, with an address of its own. */
interface Machine {
  readonly name: string
  readonly address: string
  /** What runs a command there. */
  readonly at: string[]
  registrar: Child<object> | null
  host: Child<{ key: string }> | null
}

/**
 * Machines in a network that can be divided. Each has a node of the DHT, which is always there, and a registrar and a
 * host, which come and go, as processes of their own. What they run has the mark in its environment.
 */
export class Machines {
  readonly mark = `mark-${process.pid}-${Math.random().toString(36).slice(2)}`
  readonly all: readonly Machine[]
  readonly #t: Test
  readonly #cli: Cli
  readonly #hosts: Hosts
  readonly #seed: string
  readonly #bootstrap: string
  readonly #isQuick: boolean
  /** Those that have a registrar, once all are up. */
  readonly #registrars: readonly string[]
  readonly #cuts = new Set<string>()
  #deployer: Child<object> | null = null

  private constructor(
    t: Test,
    parts: {
      cli: Cli
      hosts: Hosts
      all: Machine[]
      seed: string
      bootstrap: string
      isQuick: boolean
      registrars: readonly string[]
    }
  ) {
    this.#t = t
    this.#cli = parts.cli
    this.#hosts = parts.hosts
    this.all = parts.all
    this.#seed = parts.seed
    this.#bootstrap = parts.bootstrap
    this.#isQuick = parts.isQuick
    this.#registrars = parts.registrars
  }

  /**
   * Machines on which everything runs, and somebody at the first one who commands apps.
   *
   * @param options which of them have a registrar and which a host, by default all; and whether all wait as long as they
   * do outside of tests
   */
  static async make(
    t: Test,
    names: readonly string[],
    {
      registrars = names,
      hosts: withHosts = names,
      isQuick = true
    }: { registrars?: readonly string[]; hosts?: readonly string[]; isQuick?: boolean } = {}
  ): Promise<Machines> {
    const cli = new Cli(t)
    const hosts = new Hosts(t)
    const all = names.map((name, i) => {
      const address = `10.79.0.${i + 1}`
      return { name, address, at: hosts.add(name, address), registrar: null, host: null }
    })
    const [first, ...others] = all as [Machine, ...Machine[]]
    const node = cli.start(['bootstrap', '--host', first.address], { at: first.at })
    const known = await node.waitForLine('bootstrap=')
    await Promise.all(
      others.map(({ at, address }) =>
        cli.start([known, address], { at, program: DHT_NODE }).waitForLine('ready')
      )
    )
    const bootstrap = all.map(({ address }) => `${address}:${DHT_PORT}`).join()
    const { registrySeed: seed } = cli.seed()
    const machines = new Machines(t, { cli, hosts, all, seed, bootstrap, isQuick, registrars })
    t.teardown(() => machines.#endApps(() => true))
    await Promise.all(registrars.map((name) => machines.startRegistrar(name)))
    await Promise.all(withHosts.map((name) => machines.startHost(name)))
    machines.#deployer = await machines.startDeployer(first.name)
    return machines
  }

  /** A folder that all machines share, and that goes with the test. */
  get home(): string {
    return this.#cli.home
  }

  get names(): string[] {
    return this.all.map(({ name }) => name)
  }

  machine(name: string): Machine {
    return this.all.find((one) => one.name === name) as Machine
  }

  /** Asks whoever commands apps. */
  ask<A>(name: string, argument: unknown): Promise<A> {
    return (this.#deployer as Child<object>).ask<A>(name, argument)
  }

  /** Somebody who commands apps from this machine. The same name has the same folder. */
  startDeployer(name: string): Promise<Child<object>> {
    return this.#start('./deployer.js', this.machine(name), 'deployer', {})
  }

  async startRegistrar(name: string) {
    const machine = this.machine(name)
    const times: Partial<RegistrarArguments> = this.#isQuick ? REGISTRAR_TIMES : {}
    machine.registrar ??= await this.#start('./registrar.js', machine, 'registrar', times)
  }

  async startHost(name: string) {
    const machine = this.machine(name)
    machine.host ??= await this.#start('./host.js', machine, 'host', {
      name,
      minFree: 0,
      drainTimeout: DRAIN_MS,
      ...(this.#isQuick && { checkInterval: CHECK_INTERVAL_MS, timings: HOST_TIMES })
    })
  }

  /** Ends a host in its own way, or kills it. What it runs goes on, except what is single. */
  async endHost(name: string, signal: 'SIGTERM' | 'SIGKILL') {
    const machine = this.machine(name)
    const { host } = machine
    machine.host = null
    if (signal === 'SIGTERM') await host?.end()
    else await host?.kill('SIGKILL')
  }

  async killRegistrar(name: string) {
    const machine = this.machine(name)
    const { registrar } = machine
    machine.registrar = null
    await registrar?.kill('SIGKILL')
  }

  /** All at once, as when the power fails. */
  async kill(name: string) {
    await Promise.all([this.endHost(name, 'SIGKILL'), this.killRegistrar(name)])
    await this.#endApps(({ env }) => env.APP_HOST === name)
  }

  /** What runs of an app, or of all. */
  async running(app?: string): Promise<Marked[]> {
    const all = await marked(this.mark)
    return all.filter(({ env }) => app === undefined || env.APP_NAME === app)
  }

  /** Has packets pass within these groups only. Machines that are not named are in none. */
  divide(...groups: string[][]) {
    const sideOf = (name: string) => groups.findIndex((group) => group.includes(name))
    const { names } = this
    for (const [i, one] of names.entries()) {
      for (const other of names.slice(i + 1)) {
        this.#cut(one, other, sideOf(one) !== sideOf(other) || sideOf(one) < 0)
      }
    }
  }

  heal() {
    this.divide(this.names)
  }

  /** Starts what does not run. */
  async bringUp() {
    await Promise.all(this.#registrars.map((name) => this.startRegistrar(name)))
    await Promise.all(this.names.map((name) => this.startHost(name)))
  }

  /** The folder of a machine's host. */
  folderOf(name: string): string {
    return this.#cli.path(`${name}-host`)
  }

  /** Writes an app's folder. Its program ends with this process. */
  app(file: { name: string; [field: string]: unknown }, program?: string): string {
    const { mark } = this
    const text = JSON.stringify({ env: { MARK: mark }, update: { steady: '100ms' }, ...file })
    if (program !== undefined) this.#cli.write(`${file.name}/server.js`, program)
    const path = this.#cli.write(`${file.name}/hyperseaport.app.json`, text)
    return resolve(path, '..')
  }

  #cut(one: string, other: string, isCut: boolean) {
    const id = `${one} ${other}`
    if (isCut === this.#cuts.has(id)) return
    if (isCut) {
      this.#cuts.add(id)
      this.#hosts.cut(one, other)
    } else {
      this.#cuts.delete(id)
      this.#hosts.heal(one, other)
    }
  }

  #start<T>(script: string, { name, address, at }: Machine, what: string, options: object) {
    const member = { seed: this.#seed, bootstrap: this.#bootstrap, host: address }
    const all = { ...member, dir: this.#cli.path(`${name}-${what}`), ...options }
    return start<T>(this.#t, script, [JSON.stringify(all)], { kill: true, at })
  }

  async #endApps(isMeant: (one: Marked) => boolean) {
    for (const one of await this.running()) {
      if (!isMeant(one)) continue
      try {
        process.kill(one.pid, 'SIGKILL')
      } catch {
        // It has ended.
      }
    }
  }
}
