import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Admin, Apps, Host, type HostOptions, KeyPair, Registry, Web } from '../lib/index.js'
import { Testbed } from './testbed.js'

const TIMINGS = { sameOthers: 200, lost: 500, quiet: 500, lostSingle: 3000, graceSingle: 2000 }
/** Apps outlive their hosts; those of a test that was cut off end by themselves. */
export const MORTAL = `
  setInterval(() => {
    try { process.kill(${process.pid}, 0) } catch (error) { if (error.code === 'ESRCH') process.exit() }
  }, 500).unref()
`
/** A program that says who it is. */
export const SERVER = `
  let posts = 0
  require('node:http').createServer((request, response) => {
    if (request.method === 'POST') posts++
    const { APP_NAME, APP_VERSION, APP_INSTANCE } = process.env
    response.end(JSON.stringify({ pid: process.pid, posts, APP_NAME, APP_VERSION, APP_INSTANCE, seen: Object.keys(process.env) }))
  }).listen(process.env.PORT, '127.0.0.1', () => console.log('hello from', process.pid))`

/** A registry, and hosts, gateways and deployers of it, in this process; apps are processes of their own. */
export class Fleet {
  readonly testbed: Testbed
  readonly registry: Registry
  readonly #seed: Buffer
  readonly #t: Test
  readonly #dirs = new Map<string, string>()

  private constructor(t: Test, testbed: Testbed, registry: Registry, seed: Buffer) {
    this.#t = t
    this.testbed = testbed
    this.registry = registry
    this.#seed = seed
  }

  static async make(t: Test): Promise<Fleet> {
    const testbed = await Testbed.make(t)
    const seed = KeyPair().publicKey
    const registry = await aRegistry(t, testbed, seed, await testbed.dir())
    return new Fleet(t, testbed, registry, seed)
  }

  /** Another registrar. The same name has the same folder. */
  registrar(name: string): Promise<Registry> {
    return this.dirOf(name).then((dir) => aRegistry(this.#t, this.testbed, this.#seed, dir))
  }

  async admin(): Promise<Admin> {
    const { bootstrap } = this.testbed
    const admin = Admin({ seed: this.#seed, bootstrap, dir: await this.testbed.dir() })
    this.#t.teardown(() => admin.destroy())
    return admin.setup()
  }

  /** The same name has the same folder. */
  async host(
    name = 'one',
    { timings, ...more }: Pick<HostOptions, 'uids' | 'timings' | 'drivers'> = {}
  ): Promise<Host> {
    const dir = await this.dirOf(name)
    const { bootstrap } = this.testbed
    const host = Host({
      ...{ seed: this.#seed, name, dir, bootstrap, ...more },
      minFree: 0,
      drainTimeout: 500,
      timings: { ...TIMINGS, ...timings },
      checkInterval: 100
    })
    this.#t.teardown(async () => {
      const pids = host.instances.map(({ pid }) => pid)
      await host.destroy()
      for (const pid of pids) if (pid !== null) endGroup(pid)
    })
    await host.setup()
    return host
  }

  /** The folder of a host or registrar. */
  async dirOf(name: string): Promise<string> {
    const dir = this.#dirs.get(name) ?? (await this.testbed.dir())
    this.#dirs.set(name, dir)
    return dir
  }

  async apps(): Promise<Apps> {
    const { bootstrap } = this.testbed
    const apps = Apps({ seed: this.#seed, bootstrap, dir: await this.testbed.dir() })
    this.#t.teardown(() => apps.destroy())
    return apps.setup()
  }

  async web(): Promise<Web> {
    const { registryPublicKey } = this.registry
    const { bootstrap } = this.testbed
    const dir = await this.testbed.dir()
    const web = Web({ registryPublicKey, bootstrap, dir, apps: [{ host: '*.test' }] })
    this.#t.teardown(() => web.destroy())
    return web.setup()
  }

  /** @param server the program, where it is not the one that answers */
  async app(
    more: { name?: string; version: string; [field: string]: unknown },
    folder?: string,
    server = SERVER
  ): Promise<string> {
    const at = folder ?? (await mkdtemp(join(tmpdir(), 'seaport-app-')))
    if (!folder) this.#t.teardown(() => rm(at, { recursive: true, force: true }))
    const file = { name: 'hello', hostnames: ['hello.test'], update: { steady: '100ms' }, ...more }
    await writeFile(join(at, 'hyperseaport.app.json'), JSON.stringify(file))
    await writeFile(join(at, 'server.js'), MORTAL + server)
    return at
  }

  /** Until an app is as it is wanted. */
  settled(apps: Apps, app: string) {
    return settled(apps, app)
  }

  /**
   * Until a gateway, which hears of changes a moment later than hosts do, answers with a status, by an app of a version.
   *
   * @returns the answer
   */
  async answered(web: Web, host: string, status: number, version?: string) {
    for (;;) {
      const answer = await this.get(web, host)
      const isRight = version === undefined || answer.body.APP_VERSION === version
      if (answer.status === status && isRight) return answer
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  get(web: Web, host: string, method = 'GET') {
    // biome-ignore lint/suspicious/noExplicitAny: the app's own JSON
    return new Promise<{ status: number | undefined; body: any }>((resolve, reject) => {
      const asked = request({ port: web.port, host: '127.0.0.1', method, headers: { host } })
      asked.on('error', reject)
      asked.on('response', async (response) => {
        const pieces: Buffer[] = []
        for await (const piece of response) pieces.push(piece)
        resolve({ status: response.statusCode, body: JSON.parse(`${Buffer.concat(pieces)}`) })
      })
      asked.end(method === 'POST' ? 'body' : undefined)
    })
  }
}

/** Until an app is as it is wanted. */
export async function settled(apps: Apps, app: string) {
  for (;;) {
    const { current, instances, passing, wanted, isPreparing } = await apps.status(app)
    const isDone =
      !isPreparing &&
      passing === wanted &&
      instances.length === wanted &&
      instances.every(({ hash, state }) => hash === current.release && state === 'passing')
    if (isDone) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function aRegistry(t: Test, testbed: Testbed, seed: Buffer, dir: string): Promise<Registry> {
  const { bootstrap } = testbed
  const registry = Registry({ seed, dir, bootstrap, private: false })
  t.teardown(() => registry.destroy())
  return registry.setup()
}

function endGroup(pid: number) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
