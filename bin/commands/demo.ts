import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join, relative } from 'node:path'
import { randomSeed } from '../../lib/identity.js'
import type { ConsumerEntry } from '../../lib/index.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS } from '../flags.js'
import type { Lifetime } from '../lifetime.js'

/** What is served: two versions, and one of them twice. */
const SERVICES = [
  { role: 'hello@1.0.0', says: 'hello from 1.0.0, the first instance' },
  { role: 'hello@1.0.0', says: 'hello from 1.0.0, the second instance' },
  { role: 'hello@2.0.0', says: 'hello from 2.0.0' }
]
const RANGES = ['hello@1.x', 'hello@2.x', 'hello']

/** All of it in one process, on loopback, with nothing left behind. */
export const demo: Command = {
  verb: 'demo',
  isLasting: true,
  flags: {
    once: { kind: 'switch', describe: 'Walk through it, check every answer, and end' },
    apps: {
      kind: 'switch',
      describe: 'An app on two hosts: it is updated, and one host dies and comes back'
    },
    ...COMMON_FLAGS
  },
  examples: [
    ['demo', 'Start it, and try what it prints'],
    ['demo --once', 'Watch it try by itself'],
    ['demo --apps', 'An app on two hosts, of which one dies']
  ],

  async run(settings, lifetime) {
    const isWalk = settings.on('once')
    const { BootstrapNode, Consumer, Registry, Service, Web } = await import('../../lib/index.js')
    const { temporaryFolder } = await import('../../lib/registry.js')
    const folder = lifetime.own(await temporaryFolder())
    const seed = randomSeed()

    const node = lifetime.own(new BootstrapNode({ port: 0 }))
    await node.setup()
    const bootstrap = node.address
    const options = { seed, dir: join(folder.path, 'registry'), bootstrap }
    // Nobody can know better whether it is private: the seed is as new as the DHT.
    const registry = lifetime.own(Registry({ ...options, private: false }))
    await registry.setup()
    const { registryPublicKey } = registry
    const apps = [{ host: '*.test' }]
    const web = Web({ registryPublicKey, dir: join(folder.path, 'web'), bootstrap, apps })
    await lifetime.own(web).setup()
    const flagsOf = (registry: string) =>
      `--bootstrap ${bootstrap} ${registry} --dir ${join(folder.path, 'tried')}`
    console.log(`a dashboard          ${web.url}`)
    console.log(`a private DHT        bootstrap=${bootstrap}`)
    console.log(`a registry           registryPublicKey=${registryPublicKey}`)

    if (settings.on('apps')) {
      const { demoApps } = await import('../demo-apps.js')
      await demoApps({ folder: folder.path, seed, bootstrap, web }, lifetime)
      if (isWalk) return console.log('\nAll went as it should.')
      console.log(`\nTry:\n`)
      for (const verb of [
        'hosts',
        'app status',
        'app scale hello-world 4',
        'app logs hello-world'
      ]) {
        console.log(
          `  ${ourselves()} ${verb} ${flagsOf(`--registrySeed @${join(folder.path, 'seed')}`)}`
        )
      }
      console.log('\nCtrl-C ends it.')
      return lifetime.untilStopped()
    }

    const services: { destroy(): Promise<void> }[] = []
    for (const [index, { role, says }] of SERVICES.entries()) {
      const port = await serve(says, lifetime)
      const dir = join(folder.path, `service-${index}`)
      const service = lifetime.own(Service({ registryPublicKey, role, port, dir, bootstrap }))
      await service.setup()
      services.push(service)
      console.log(`a service            ${role} on ${service.servicePublicKey}`)
    }

    const dir = join(folder.path, 'consumer')
    const consumer = lifetime.own(Consumer(RANGES, { registryPublicKey, dir, bootstrap }))
    const entries = await consumer.setup()
    for (const entry of entries) console.log(`a proxy for ${String(entry).padEnd(8)} ${entry.url}`)

    if (isWalk) return walk(entries, services)
    console.log('\nTry:\n')
    for (const { url } of entries) console.log(`  curl ${url}`)
    for (const range of RANGES) console.log(`  curl ${web.url}role/${range}/`)
    console.log(
      // What it keeps goes with all the rest.
      `  ${ourselves()} list ${flagsOf(`--registryPublicKey ${registryPublicKey}`)}`
    )
    console.log('\nCtrl-C ends it.')
    await lifetime.untilStopped()
  }
}

/** Asks for every range, and again after the first service has left. */
async function walk(
  [ones, twos, any]: readonly ConsumerEntry[],
  [first]: { destroy(): Promise<void> }[]
) {
  if (!ones || !twos || !any || !first) throw new Error('the demo is incomplete')
  const [one, other, two] = SERVICES.map(({ says }) => says)
  console.log('\nBoth instances of 1.0.0 take turns:')
  const turns = [await ask(ones), await ask(ones)]
  expect(turns.sort(), [one, other])
  console.log('\nA range is answered by the newest version in it:')
  expect([await ask(twos), await ask(any)], [two, two])
  console.log('\nThe first instance leaves, and the second takes over:')
  await first.destroy()
  expect([await ask(ones), await ask(ones)], [other, other])
  console.log('\nAll answers were right.')
}

async function ask(entry: ConsumerEntry): Promise<string> {
  const response = await fetch(entry.url, { headers: { connection: 'close' } })
  const answer = (await response.text()).trim()
  console.log(`  curl ${entry.url}  # ${entry}\n    ${answer}`)
  return answer
}

function expect(answers: string[], right: (string | undefined)[]) {
  if (answers.join() === right.join()) return
  throw new Error(`the demo went wrong: got ${answers.join()}, not ${right.join()}`)
}

/** How this program was called: installed, or from a clone. */
function ourselves(): string {
  const path = process.argv[1] ?? ''
  return basename(path) === 'hyperseaport' ? 'hyperseaport' : `node ${relative('', path)}`
}

/** The sample service. */
async function serve(says: string, lifetime: Lifetime): Promise<number> {
  const server = createServer((_request, response) => response.end(`${says}\n`))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  lifetime.own({
    async destroy() {
      server.close()
      server.closeAllConnections()
    }
  })
  return (server.address() as AddressInfo).port
}
