import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { renameSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Test } from 'tap'
import { KeyPair, randomSeed, toHex } from '../../../lib/core/keys.js'
import { keepProcessKey } from '../../../lib/registry/log/own-keys.js'
import { signGrant } from '../../../lib/registry/trust/grant.js'
import { Cli, type CliOptions, type Running } from '../../bin/cli.js'
import { randomFrom } from '../../random.js'
import { type Site, Sites } from '../sites.js'
import type { Actor, ActorOptions } from './actor.js'
import { Clock } from './clock.js'
import { Line } from './line.js'
import { Outlaw } from './outlaw.js'
import { Program } from './program.js'
import { ServiceProgram, tagOf } from './service.js'
import { Watcher } from './watcher.js'

/** Where each of them lives. */
const REGISTRARS: Site[] = ['here', 'there', 'here']
const SERVICES: Site[] = ['here', 'there', 'here', 'there', 'here', 'there']
/** The last two are never stopped, so that whether their memory grows is seen. */
const WATCHERS: Site[] = ['here', 'there', 'here']
const LASTING_WATCHERS = 2
/** Their clocks jump: by hours, days and years, forward and back. */
const DREAMERS = ['registrar-1', 's1', 's4', 'watcher-0']
/** How long each stays as it is, on average, in ms. */
const STAYS = {
  registrar: { up: 60_000, down: 10_000, frozen: 10_000 },
  service: { up: 40_000, down: 15_000, frozen: 15_000 },
  watcher: { up: 60_000, down: 5000, frozen: 8000 },
  crasher: { up: 4000, down: 4000 },
  line: { up: 50_000, down: 15_000 }
}
const PATIENCE_MS = 180_000
const BACKEND_PORT = 8000
const ECHO = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(${BACKEND_PORT}, '127.0.0.1', () => console.log('listening'))`
const FIXTURES = resolve(import.meta.dirname, '../fixtures')

/** A private registry at two sites, and all who have to do with it, those who have nothing to do there too. */
export class World {
  readonly clock = new Clock()
  readonly registrars: Program[]
  readonly services: ServiceProgram[]
  readonly watchers: Watcher[]
  readonly outlaws: Outlaw[] = []
  /** A registrar that begins on an empty disk each time. Nobody may rely on it, so the judge does not either. */
  readonly crasher: Program
  readonly line: Line
  readonly #t: Test
  readonly #cli: Cli
  readonly #sites: Sites
  readonly #seed: number
  readonly #keyPair: KeyPair

  static async make(t: Test, seed: number): Promise<World> {
    const sites = await Sites.make(t)
    const cli = new Cli(t)
    cli.setEnv('HYPERSEAPORT_BOOTSTRAP', sites.bootstrap)
    return new World(t, cli, sites, seed)
  }

  private constructor(t: Test, cli: Cli, sites: Sites, seed: number) {
    this.#t = t
    this.#cli = cli
    this.#sites = sites
    this.#seed = seed
    this.#keyPair = KeyPair(cli.seed().registrySeed)
    this.line = new Line(sites, this.#life('line', 'line'))
    this.registrars = REGISTRARS.map((site, i) => this.#registrar(`registrar-${i}`, site))
    this.services = SERVICES.map((site, i) => this.#service(`s${i}`, site))
    this.crasher = this.#crasher('crasher')
    this.watchers = WATCHERS.map((site, i) =>
      this.#watcher(`watcher-${i}`, site, i >= WATCHERS.length - LASTING_WATCHERS)
    )
  }

  /** All to whom things happen. */
  get actors(): Actor[] {
    const programs = [...this.registrars, ...this.services, ...this.watchers, this.crasher]
    return this.#sites.canBeCut ? [...programs, this.line] : programs
  }

  /** What runs now, by name. */
  get running(): [name: string, running: Running][] {
    const programs = [...this.registrars, ...this.services, ...this.watchers, this.crasher]
    return [...programs, ...this.outlaws].flatMap(({ name, running }) =>
      running ? [[name, running]] : []
    )
  }

  async start() {
    const cli = this.#cli
    await Promise.all([this.#startBackend('here'), this.#startBackend('there')])
    await Promise.all(this.registrars.map((registrar) => registrar.bringUp()))
    const backup = cli.write('grants.jsonl', (await this.#grants()).join('\n'))
    const taken = await cli.run(['import', backup], { at: this.#sites.at.here })
    if (taken.code !== 0) throw new Error(taken.stderr)
    await Promise.all([...this.services, ...this.watchers].map((program) => program.bringUp()))
    this.outlaws.push(
      this.#outlaw('stranger', this.#targets),
      this.#outlaw('forger', cli.path('forger')),
      this.#outlaw('liar', cli.path('liar'))
    )
  }

  /** Gives the services' keys and addresses away. */
  betray() {
    const targets = this.services.map((service) => {
      const direct = this.watchers.map((watcher) => watcher.addressesOf(service))
      return { key: service.key, direct: direct.find((one) => one.length > 0) ?? [] }
    })
    // As a whole, since it is read at any time.
    renameSync(this.#cli.write('targets.new', JSON.stringify(targets)), this.#targets)
  }

  /** All that the registry says, as signed. */
  async export(): Promise<string[]> {
    const { code, stdout, stderr } = await this.#cli.run(['export'], { at: this.#sites.at.here })
    if (code !== 0) throw new Error(`export ended with ${code}: ${stderr}`)
    return stdout.trim().split('\n')
  }

  get #targets(): string {
    return this.#cli.path('targets.json')
  }

  #registrar(name: string, site: Site): Program {
    const line = ['registry', '--private', '--dir', this.#cli.path(name)]
    return new Program({
      ...this.#life(name, 'registrar'),
      site,
      launch: (life) => this.#launch(site, 'registryPublicKey=', line, this.#clockOf(name, life))
    })
  }

  #crasher(name: string): Program {
    const folder = (life: number) => this.#cli.path(`${name}-${life}`)
    return new Program({
      ...this.#life(name, 'crasher'),
      site: 'here',
      isKilled: true,
      launch: (life) => {
        rmSync(folder(life - 1), { recursive: true, force: true })
        const line = ['registry', '--private', '--dir', folder(life)]
        return this.#launch('here', 'registryPublicKey=', line)
      }
    })
  }

  #service(name: string, site: Site): ServiceProgram {
    const seed = randomSeed()
    const line = ['service', '-p', `${BACKEND_PORT}`, '-r', `${name}@1.0.0`, '--seed', toHex(seed)]
    const dir = ['--dir', this.#cli.path(name)]
    return new ServiceProgram({
      ...this.#life(name, 'service'),
      site,
      keyPair: KeyPair(seed),
      // With every registrar away it is not registered yet.
      launch: (life) => {
        const tagged = [...line, ...dir, '--tag', tagOf(life)]
        return this.#launch(site, 'connecting to registry', tagged, this.#clockOf(name, life))
      }
    })
  }

  #watcher(name: string, site: Site, isLasting: boolean): Watcher {
    const line = [toHex(this.#keyPair.publicKey), this.#cli.path(name)]
    return new Watcher({
      ...this.#life(name, 'watcher'),
      site,
      isLasting,
      launch: (life) => {
        const options = { ...this.#clockOf(name, life), program: `${FIXTURES}/watcher.js` }
        return this.#launch(site, '{"ready":true}', line, options)
      }
    })
  }

  /** Each has its own series of chances: what happens to one does not depend on how fast others were. */
  #life(name: string, kind: keyof typeof STAYS): ActorOptions {
    const salt = [...name].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), 7)
    const random = randomFrom(this.#seed ^ salt)
    return { name, clock: this.clock, random, stays: STAYS[kind] }
  }

  #outlaw(name: string, argument: string): Outlaw {
    const line = [toHex(this.#keyPair.publicKey), argument]
    const options = { at: this.#sites.at.here, program: `${FIXTURES}/${name}.js` }
    return new Outlaw(name, this.#cli.start(line, options))
  }

  /** Whether its clock jumps, and how. */
  #clockOf(name: string, life: number): CliOptions {
    if (!DREAMERS.includes(name)) return {}
    const env = { SOAK_CLOCK: `${this.#seed + life}` }
    return { env, nodeFlags: ['--import', `${FIXTURES}/jumping-clock.js`] }
  }

  async #launch(site: Site, line: string, args: string[], options?: CliOptions): Promise<Running> {
    const at = this.#sites.at[site]
    const running = this.#cli.start(args, { at, ...options })
    await running.waitForLine(line, PATIENCE_MS)
    return running
  }

  async #startBackend(site: Site) {
    const [program = '', ...args] = [...this.#sites.at[site], process.execPath, '-e', ECHO]
    const backend = spawn(program, args, { env: { ...process.env, NODE_OPTIONS: '' } })
    this.#t.teardown(() => backend.kill('SIGKILL'))
    await once(backend.stdout, 'data')
  }

  /** To all but the stranger. */
  async #grants(): Promise<string[]> {
    const { publicKey } = this.#keyPair
    const readers = [...this.watchers.map(({ name }) => name), 'forger', 'liar']
    const keys = await Promise.all(
      readers.map((name) => keepProcessKey(publicKey, this.#cli.path(name)))
    )
    const none = { serve: [], consume: [], admin: false, expiresAt: 0 }
    return [
      ...keys.map((key) => signGrant(publicKey, this.#keyPair, key.publicKey, none)),
      ...this.services.map(({ key, role }) =>
        signGrant(publicKey, this.#keyPair, Buffer.from(key, 'hex'), { ...none, serve: [role] })
      )
    ].map((grant) => JSON.stringify(grant))
  }
}
