import { readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { Test } from 'tap'
import { Apps } from '../../lib/index.js'
import { Cli, type Running } from '../bin/cli.js'
import { MORTAL, SERVER } from '../fleet.js'

/** A registry, a gateway for `*.test`, and hosts, each a process of its own, which the binary runs. */
export class AppHarbor {
  readonly cli: Cli
  /** Those that were started, the first first. */
  readonly hosts: Running[] = []
  readonly #t: Test
  #bootstrap = ''
  #seed = ''
  #port = 0

  private constructor(t: Test) {
    this.#t = t
    this.cli = new Cli(t)
  }

  static async make(t: Test): Promise<AppHarbor> {
    const harbor = new AppHarbor(t)
    harbor.#bootstrap = await harbor.cli.island()
    harbor.#seed = harbor.cli.seed().registrySeed
    return harbor
  }

  /** One with a registry, a host, whose apps end with it, and a gateway. */
  static async withOneHost(t: Test): Promise<AppHarbor> {
    const harbor = await AppHarbor.make(t)
    await harbor.registry()
    await harbor.host('one', '--stopApps').waitForLine('registered host')
    await harbor.web()
    return harbor
  }

  /** @param name of its folder */
  async registry(name = 'registry'): Promise<Running> {
    const registry = this.cli.start(['registry', '--dir', this.cli.path(name)])
    await registry.waitForLine('registryPublicKey=')
    return registry
  }

  async web(): Promise<Running> {
    const web = this.cli.start([
      'web',
      '-p',
      '0',
      '--apps',
      '*.test',
      '--dir',
      this.cli.path('web')
    ])
    this.#port = Number(await web.waitForLine('web server listening on port '))
    return web
  }

  /** The same name has the same folder. The host may not be registered yet. */
  host(name: string, ...flags: string[]): Running {
    const words = ['host', '--name', name, '--minFree', '0', '--drainTimeout', '1']
    const host = this.cli.start([...words, '--dir', this.cli.path(name), ...flags])
    this.hosts.push(host)
    this.#t.teardown(() => host.kill())
    return host
  }

  /** What commands apps from within this process: it asks again and again without starting a binary each time. */
  async apps(): Promise<Apps> {
    const dir = this.cli.path('apps')
    const apps = Apps({ seed: this.#seed, bootstrap: this.#bootstrap, dir })
    this.#t.teardown(() => apps.destroy())
    return apps.setup()
  }

  /** Writes the folder of an app, whose program ends with this test. Returns its path. */
  write(file: { name: string; [field: string]: unknown }, program = SERVER): string {
    const hostnames = [`${file.name}.test`]
    this.cli.write(`${file.name}/server.js`, MORTAL + program)
    this.cli.write(
      `${file.name}/hyperseaport.app.json`,
      JSON.stringify({ hostnames, update: { steady: '100ms' }, ...file })
    )
    return this.cli.path(file.name)
  }

  app(...args: string[]) {
    return this.cli.run(['app', ...args])
  }

  /** What `app status --json` says of an app. */
  async status(name: string) {
    const { stdout, stderr } = await this.app('status', name, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout)[0]
  }

  /** Changes fields of the app file, and has the program end with this test. */
  async patch(folder: string, fields: { [field: string]: unknown }) {
    const file = `${folder}/hyperseaport.app.json`
    const text = JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...fields })
    await writeFile(file, text)
    const program = `${folder}/server.js`
    const lines = await readFile(program, 'utf8')
    if (!lines.includes(MORTAL)) {
      await writeFile(program, `${lines}${MORTAL}console.log('began')\n`)
    }
  }

  get(host = 'hello-world.test', method = 'GET') {
    return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
      const asked = request({ port: this.#port, host: '127.0.0.1', method, headers: { host } })
      asked.on('error', reject)
      asked.on('response', async (response) => {
        let body = ''
        for await (const piece of response) body += piece
        resolve({ status: response.statusCode, body })
      })
      asked.end(method === 'POST' ? 'body' : undefined)
    })
  }
}
