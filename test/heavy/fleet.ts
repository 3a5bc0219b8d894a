import type { Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { type Child, start } from './fixtures/child.js'
import type { ConsumersArguments, Seen, Wanted } from './fixtures/consumers.js'
import type { ServicesArguments } from './fixtures/services.js'
import { untilNothing } from './until.js'

/** For what comes about by itself, on a busy machine, in ms. */
const PATIENCE_MS = 60_000

/** A registry, and many services and consumers of it, in processes of their own on this machine. */
export class Fleet {
  readonly consumers: Child<object>[] = []
  /** What each process has registered, as `role@version`. */
  readonly #services = new Map<Child<object>, Set<string>>()
  readonly #t: Test
  readonly #cli: Cli
  #registry = { bootstrap: '', registryPublicKey: '' }
  #folders = 0

  private constructor(t: Test) {
    this.#t = t
    this.#cli = new Cli(t)
  }

  /**
   * A registry without a registrar.
   *
   * @param bootstrap of the DHT. Default: one of its own, on this machine
   */
  static async make(t: Test, bootstrap?: string): Promise<Fleet> {
    const fleet = new Fleet(t)
    if (bootstrap) fleet.#cli.setEnv('HYPERSEAPORT_BOOTSTRAP', bootstrap)
    bootstrap ??= await fleet.#cli.island()
    const { registryPublicKey } = fleet.#cli.seed()
    fleet.#registry = { bootstrap, registryPublicKey }
    return fleet
  }

  /**
   * One with the same seed, and an empty folder.
   *
   * @param at what runs it elsewhere, as in `ip netns exec host`
   */
  async startRegistrar(at: string[] = []): Promise<Running> {
    const registrar = this.#cli.start(['registry', '--dir', this.#folder()], { at })
    await registrar.waitForLine('registryPublicKey=', PATIENCE_MS)
    return registrar
  }

  /** A process with these services, once they are registered. */
  async startServices(roles: string[], at: string[] = []): Promise<Child<object>> {
    const options: ServicesArguments = { ...this.#registry, dir: this.#folder(), roles }
    const child = await this.#start<object>('./services.js', options, at)
    this.#services.set(child, new Set(roles))
    return child
  }

  /** One more in each of the processes, once it is registered. */
  async register(name: (process: number) => string) {
    await Promise.all([...this.#services.keys()].map((process, i) => this.add(process, name(i))))
  }

  /** One more in a process, once it is registered. */
  async add(process: Child<object>, role: string) {
    await process.ask('register', role)
    this.#services.get(process)?.add(role)
  }

  /** One that a process has is no longer. */
  async withdraw(process: Child<object>, role: string) {
    await process.ask('withdraw', role)
    this.#services.get(process)?.delete(role)
  }

  /** What a process has registered goes with it. */
  async kill(process: Child<object>) {
    await process.kill('SIGKILL')
    this.#services.delete(process)
  }

  /** A process with a consumer for each of these lists of role ranges, once it has found them. */
  async startConsumers(roles: string[][], at: string[] = []) {
    this.consumers.push(await this.#aConsumer(roles, at))
  }

  /** A consumer that has never been there finds everything, and reaches it. It took `ms` to find it. */
  async newcomer(): Promise<Seen & { ms: number; missing: string | null }> {
    const ranges = this.#roles.map((role) => role.replace(/\d+\.\d+$/, 'x'))
    const child = await this.#aConsumer([ranges])
    await child.ask('reachAll')
    const wanted: Wanted = { roles: this.#roles, live: false }
    const missing = await child.ask<string | null>('missing', wanted)
    const [seen] = await child.ask<[Seen]>('report')
    await child.kill('SIGKILL')
    return { ...seen, ms: child.ready.took, missing }
  }

  /** What all consumers have seen since this was asked before. */
  async seen(): Promise<Seen> {
    const all = await Promise.all(this.consumers.map((child) => child.ask<Seen[]>('report')))
    return all.flat().reduce((sum, seen) => ({
      lost: [...sum.lost, ...seen.lost],
      failures: [...sum.failures, ...seen.failures],
      streams: sum.streams + seen.streams,
      slowest: Math.max(sum.slowest, seen.slowest)
    }))
  }

  /** What some consumer's directory lacks or has too much, in words. */
  async missing(live = false): Promise<string | null> {
    const wanted: Wanted = { roles: this.#roles, live }
    const answers = await Promise.all(
      this.consumers.map((child) => child.ask<string | null>('missing', wanted))
    )
    return answers.find((it) => it !== null) ?? null
  }

  /**
   * Waits until a live registrar vouches for every service, at every consumer.
   *
   * @returns how long that took, in ms
   */
  whole(): Promise<number> {
    return untilNothing(() => this.missing(true), PATIENCE_MS)
  }

  get #roles(): string[] {
    return [...this.#services.values()].flatMap((roles) => [...roles])
  }

  #aConsumer(roles: string[][], at: string[] = []): Promise<Child<{ took: number }>> {
    const options: ConsumersArguments = { ...this.#registry, dir: this.#folder(), roles }
    return this.#start('./consumers.js', options, at)
  }

  #start<T>(script: string, options: object, at: string[]): Promise<Child<T>> {
    return start<T>(this.#t, script, [JSON.stringify(options)], { kill: true, at })
  }

  #folder(): string {
    return this.#cli.path(`${this.#folders++}`)
  }
}
