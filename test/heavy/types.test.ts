import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { SeaportError } from '../../lib/index.js'

const HOUSE = resolve(import.meta.dirname, '../../..')
const TSC = join(HOUSE, 'node_modules/typescript/bin/tsc')

const CODES = Object.getOwnPropertyNames(SeaportError).filter((name) => /^[A-Z_]+$/.test(name))

/** Every face, event and code. It compiles only if all are there, and no others. */
const RIGHT = `
import {
  Admin, BootstrapNode, Consumer, KeyPair, Peer, Registry, SeaportError, Service, Web
} from 'hyperseaport'
import type {
  AccessEntry, AdminEvents, BootstrapNodeEvents, ConsumerEntry, ConsumerEvents, Exit, Forgotten, Grant, Instance, LinkView,
  MailMessage, PeerEvents, PortlessEntry, RegistrarView, RegistryEvents, Revocation, SeaportErrorCode, ServiceEvents, ServiceOptions, ServiceRecord, WebEvents
} from 'hyperseaport'
import http from 'node:http'
import type { Duplex } from 'node:stream'

type Listeners<Events extends { [event: string]: unknown[] } | object> = {
  [Event in keyof Events]-?: Events[Event] extends unknown[] ? (...values: Events[Event]) => void : never
}
const onError = (error: SeaportError) => console.error(error.code, error.text)
const onRecord = ({ role, version, key }: ServiceRecord) => console.log(role, version, key)
const ofConsumer: Listeners<ConsumerEvents> = {
  connecting() {},
  connected() {},
  waiting: (roles: string[]) => console.log(roles.join()),
  found: (instance: Instance, entry: ConsumerEntry) => console.log(instance.servicePublicKey, entry.url),
  listening: (entry: ConsumerEntry, instance: Instance) => console.log(entry.port, instance.version),
  registrar() {},
  denied: onError,
  refused: (error: SeaportError, entry: ConsumerEntry) => console.error(error.code, entry.role),
  draining: (connections: number) => console.log(connections.toFixed()),
  notice: onError
}
const ofService: Listeners<ServiceEvents> = {
  listening() {},
  connecting() {},
  registered: onRecord,
  lost() {},
  draining: (streams: number) => console.log(streams.toFixed()),
  moved: (to: string) => console.log(to.length),
  health: (health: 'passing' | 'failing', reason: SeaportError | null) => console.log(health, reason?.code),
  up: (port: number) => console.log(port.toFixed()),
  exit: ({ code, signal, restartIn }: Exit) => console.log(code, signal, restartIn),
  denied: onError,
  refused: onError,
  notice: onError
}
const ofRegistry: Listeners<RegistryEvents> = {
  opened: () => {}, registered: onRecord, withdrawn: onRecord, gone: onRecord, stale: onRecord, notice: onError
}
const ofWeb: Listeners<WebEvents> = {
  connecting() {},
  connected() {},
  listening: (port: number) => console.log(port.toFixed()),
  denied: onError,
  access: (entry: AccessEntry) => console.log(entry.status),
  failed: (error: Error, entry: AccessEntry) => console.log(error.message, entry.status),
  draining: (requests: number) => console.log(requests.toFixed()),
  notice: onError
}
const ofPeer: Listeners<PeerEvents> = {
  connecting() {},
  message: ({ from, body, id, sentAt }: MailMessage) => console.log(from, body, id, sentAt.getTime()),
  receipt: ({ id, status, code }) => console.log(id, status, code),
  registered: onRecord,
  lost() {},
  denied: onError,
  notice: onError
}
const ofAdmin: Listeners<AdminEvents> = { denied: onError, notice: onError }
const ofNode: Listeners<BootstrapNodeEvents> = { notice: onError }
export const listeners = { ofConsumer, ofService, ofRegistry, ofWeb, ofAdmin, ofNode, ofPeer }

export const codes: Record<SeaportErrorCode, true> = { ${CODES.map((code) => `${code}: true`).join(', ')} }

class Mine extends Consumer<['a@1.x']> {
  readonly made = 'by me'
  #calls = 0
  constructor(bootstrap: string) {
    super(['a@1.x'], { registryPublicKey: KeyPair().publicKey, bootstrap })
    this.on('found', (instance, entry) => console.log(instance.role, entry.url, this.#calls++))
  }
  override async setup() {
    const entries = await super.setup()
    console.log(entries[0].url)
    return entries
  }
}
class Plain extends Service {
  readonly label: string
  constructor(options: ServiceOptions, label: string) {
    super(options)
    this.label = label
  }
}

export async function main(roles: string[]): Promise<void> {
  await using node = new BootstrapNode({ port: 0 })
  await node.setup()
  const bootstrap = node.address
  const seed = KeyPair().secretKey.subarray(0, 32)
  await using registry: Registry = Registry({ seed, bootstrap, dir: 'registry', private: true })
  await registry.setup()
  const { registryPublicKey } = registry
  const options = { registryPublicKey, bootstrap }
  const admin: Admin = await Admin({ seed, bootstrap }).setup({ timeout: 1000 })
  const grant: Grant = await admin.grant(KeyPair().publicKey, { serve: ['a@^1'], expiresAt: 0 })
  const revocation: Revocation = await admin.revoke(grant.subject)
  const registrars: RegistrarView[] = [...(await admin.registrars()), ...(await admin.missing(0))]
  const forgotten: Forgotten = await admin.forget(registrars[0]?.registrarKey ?? '')
  console.log(revocation.type, forgotten.type, admin.list(), admin.export())

  const services: Service[] = [
    Service({ ...options, role: 'a@1.0.0', port: 80, name: 'blue', checkInterval: 500 }),
    Service({ ...options, role: 'a@1.0.0', target: '10.0.0.2:80', check: 'http:/health' }),
    Service({ ...options, role: 'a@1.0.0', command: ['node', 'server.js'], output: 'inherit' }),
    Service({ ...options, role: 'a@1.0.0', server: http.createServer() }),
    new Plain({ ...options, role: 'a@1.0.0', port: 80 }, 'plain')
  ]
  const peer: Peer = Peer({ ...options, name: 'ada', accept: ['peer'], ttl: 1000 })
  const sent = await peer.send('worker@1.x', { a: 1 }, { ttl: 1000, type: 'note' })
  console.log(sent.id, sent.status, (await sent.delivered).by, peer.peers()[0]?.name, peer.key)
  for await (const { body } of peer.inbox()) console.log(body)
  await peer.recall(sent.id)
  await services[0]?.mail.send(peer.publicKey, Buffer.from('bytes'))
  for (const service of services) {
    service.once('registered', ({ status }) => console.log(status))
    service.drain()
    await service.destroy()
  }

  const mine = new Mine(bootstrap)
  const [a] = await mine.setup()
  const stream: Duplex = await a.connect({ signal: AbortSignal.timeout(1000) })
  stream.end()
  const [one, two] = await Consumer(['one@1.x', 'two@^2'], { ...options, ports: [0, 0] }).setup()
  const response: Response = await two.fetch('/')
  http.get(one.url, { agent: one.agent })
  const portless = new Consumer(['a'], { ...options, listen: false, serve: false })
  const [streams]: readonly [PortlessEntry] = await portless.setup()
  streams.setMode('round-robin')
  const links: LinkView[] = portless.links()
  const [maybe] = await Consumer(roles, options).setup()
  console.log(response.status, links.length, maybe?.url, mine instanceof Consumer)

  const web: Web = Web({ ...options, port: 0, deadline: 5000 })
  web.on('listening', (port) => console.log(port.toFixed(), web.url))
  await Promise.all([web.destroy(), mine.destroy(), portless.destroy(), admin.destroy()])
}
`

/** Each is wrong in one way, in the line that begins with WRONG, and compiles without that line. */
const WRONG: Record<string, string> = {
  'a service without any backend': `Service({ registryPublicKey, role: 'a@1.0.0' })`,
  'a service with two backends': `Service({ registryPublicKey, role: 'a@1.0.0', port: 1, server: createServer() })`,
  'a server that is checked': `Service({ registryPublicKey, role: 'a@1.0.0', server: createServer(), check: 'tcp' })`,
  'an event that there is none of': `consumer.on('fuond', () => {})`,
  'a listener for other values': `consumer.on('found', (instance: number) => instance)`,
  'a code that there is none of': `if (error.code === 'NO_INSTANCES') process.exit()`,
  'a port of an entry without ports': `(await Consumer(['a'], { registryPublicKey, listen: false }).setup())[0].port`,
  'more entries than roles': `(await consumer.setup())[1].url`,
  'an entry of roles that are not known': `(await Consumer(roles, { registryPublicKey }).setup())[0].url`,
  'one role that is no list': `Consumer('a@1.x', { registryPublicKey })`,
  'an option that there is none of': `Consumer(['a@1.x'], { registryPublicKey, timeuot: 1000 })`,
  'a consumer without its registry': `Consumer(['a@1.x'], {})`,
  'the lifecycle behind the verbs': `await consumer.ready()`,
  'an entry that emits': `(await consumer.setup())[0].on('found', () => {})`,
  'an error of their own making': `new SeaportError('USAGE', 'no')`,
  'a time as text': `Web({ registryPublicKey, deadline: '5s' })`
}
const AROUND = (line: string) => `
import { createServer } from 'node:http'
import { Consumer, SeaportError, Service, Web } from 'hyperseaport'
declare const registryPublicKey: string, roles: string[], error: SeaportError
const consumer = Consumer(['a@1.x'], { registryPublicKey })
export const used = [createServer, Consumer, SeaportError, Service, Web, roles, error, consumer]
;${line}
`

t.test(
  'as tsc --init has it, the README and a program of every face, event and code compile, and wrong ones do not',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-types-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await mkdir(join(folder, 'node_modules'))
    await symlink(HOUSE, join(folder, 'node_modules/hyperseaport'))
    await symlink(join(HOUSE, 'node_modules/@types'), join(folder, 'node_modules/@types'))
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await tsc(folder, '--init')

    await writeFile(join(folder, 'right.ts'), RIGHT)
    await writeFile(join(folder, 'readme.ts'), await readmeExample())
    await writeFile(join(folder, 'around.ts'), AROUND(''))
    const wrong = Object.entries(WRONG).map(([name, line], i) => ({
      name,
      line,
      file: `wrong-${i}.ts`
    }))
    for (const { file, line } of wrong) await writeFile(join(folder, file), AROUND(line))

    const faults = (await tsc(folder, '--noEmit', '--pretty', 'false')).split('\n')
    const where = faults.map((fault) => /^([\w-]+\.ts)\((\d+),/.exec(fault)?.slice(1).join(':'))
    t.same(
      faults.filter((fault) => !/^(wrong-\d+\.ts\(7,|\s)/.test(fault) && fault !== ''),
      [],
      'what is right compiles'
    )
    for (const { name, file } of wrong) t.ok(where.includes(`${file}:7`), name)
  }
)

/** The program under "In Node". */
async function readmeExample(): Promise<string> {
  const readme = await readFile(join(HOUSE, 'README.md'), 'utf8')
  const [, program = ''] = /## In Node\n.*?```js\n(.*?)```/s.exec(readme) ?? []
  return `${program}export { stream }\n`
}

/** Runs the compiler, and returns what it prints: faults are what it is asked for. */
async function tsc(cwd: string, ...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, [TSC, ...args], { cwd })
  return run.then(
    ({ stdout }) => stdout,
    ({ stdout, stderr }) => stdout + stderr
  )
}
