import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import t, { type Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { Hosts, noHosts } from './hosts.js'

const DHT_NODE = resolve(import.meta.dirname, 'fixtures/dht-node.js')
const WEB_SERVER =
  'require("http").createServer((_, r) => r.end("hello")).listen(8000, "127.0.0.1")'

t.test(
  'on a LAN with one bootstrap node, hosts find and reach each other',
  { skip: noHosts },
  async (t) => {
    const hosts = new Hosts(t)
    const island = hosts.add('bootstrap', '10.77.0.11')
    const consumer = hosts.add('consumer', '10.77.0.14')
    const cli = new Cli(t)
    await running(cli, island, 'bootstrap=', ['bootstrap', '--host', '10.77.0.11'])
    cli.setEnv('HYPERSEAPORT_BOOTSTRAP', '10.77.0.11:49737')
    await serveAndReach(t, cli, {
      registry: hosts.add('registry', '10.77.0.12'),
      service: hosts.add('service', '10.77.0.13'),
      consumer
    })
  }
)

t.test(
  'a service and a consumer behind a NAT each reach each other',
  { skip: noHosts },
  async (t) => {
    const hosts = new Hosts(t)
    const cli = new Cli(t)
    const first = '10.77.0.11:49737'
    await running(cli, hosts.add('dht1', '10.77.0.11'), 'bootstrap=', [
      'bootstrap',
      '--host',
      '10.77.0.11'
    ])
    // A NAT is understood by how several nodes see it.
    for (const number of [2, 3, 4, 5]) {
      const address = `10.77.0.1${number}`
      const [program = '', ...args] = hosts.add(`dht${number}`, address)
      const node = spawn(program, [...args, process.execPath, DHT_NODE, first, address])
      t.teardown(() => node.kill('SIGKILL'))
      await once(node.stdout, 'data')
    }
    cli.setEnv('HYPERSEAPORT_BOOTSTRAP', [1, 2, 3, 4, 5].map((n) => `10.77.0.1${n}:49737`).join())
    await serveAndReach(t, cli, {
      registry: hosts.add('registry', '10.77.0.20'),
      service: hosts.addOf('home', 'service', 30, '10.77.0.30'),
      consumer: hosts.addOf('home', 'consumer', 40, '10.77.0.40')
    })
  }
)

t.test(
  'two homes meet in a DHT that is one machine, since that runs four nodes',
  { skip: noHosts },
  async (t) => {
    const hosts = new Hosts(t)
    const cli = new Cli(t)
    const address = '45.45.45.11'
    const at = hosts.add('bootstrap', address)
    const island = await running(cli, at, 'bootstrap=', ['bootstrap', '--host', address])
    const nodes = await island.waitForLine('bootstrap=')
    t.equal(nodes, [49737, 49738, 49739, 49740].map((port) => `${address}:${port}`).join())
    cli.setEnv('HYPERSEAPORT_BOOTSTRAP', nodes)
    await serveAndReach(t, cli, {
      registry: hosts.add('registry', '45.45.45.12'),
      service: hosts.addOf('home', 'service', 30, '45.45.45.30'),
      consumer: hosts.addOf('home', 'consumer', 40, '45.45.45.40')
    })
  }
)

/** The words that run a command on each host. */
interface Places {
  registry: string[]
  service: string[]
  consumer: string[]
}

async function serveAndReach(t: Test, cli: Cli, places: Places) {
  cli.seed()
  await running(cli, places.registry, 'registryPublicKey=', ['registry'])
  const [program = '', ...args] = places.service
  const backend = spawn(program, [...args, process.execPath, '-e', WEB_SERVER])
  t.teardown(() => backend.kill('SIGKILL'))
  const service = ['service', '-p', '8000', '-r', 'web@1.0.0']
  await running(cli, places.service, 'registered service', service)
  await running(cli, places.consumer, 'proxy from  ', ['proxy', '-p', '8001', '-r', 'web@1.x'])
  const [curl = '', ...line] = [
    ...places.consumer,
    'curl',
    '-s',
    '-m',
    '20',
    'http://127.0.0.1:8001/'
  ]
  for (let i = 0; i < 3; i++) t.equal(execFileSync(curl, line, { encoding: 'utf8' }), 'hello')
}

async function running(cli: Cli, at: string[], line: string, args: string[]): Promise<Running> {
  const running = cli.start(args, { at })
  await running.waitForLine(line, 30_000)
  return running
}
