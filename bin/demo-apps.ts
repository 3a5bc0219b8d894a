import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { SeaportError, toHex } from '../lib/identity.js'
import type { Apps, Web } from '../lib/index.js'
import { changed } from './app-progress.js'
import { DemoHost } from './demo-host.js'
import type { Lifetime } from './lifetime.js'

const APP = 'hello-world'
const HOSTNAME = 'hello-world.test'
const INSTANCES = 2
const HOSTS = ['attic', 'cellar']
const SERVER = `require('node:http').createServer((request, response) => {
  const { APP_VERSION, APP_INSTANCE, APP_HOST } = process.env
  response.end('Hello, World! from ' + APP_VERSION + ', instance ' + APP_INSTANCE + ' on ' + APP_HOST + '\\n')
}).listen(process.env.PORT, '127.0.0.1', () => console.log('listening on port ' + process.env.PORT))
`

/** Where the demo's registry and gateway are. */
export interface Stage {
  folder: string
  seed: Buffer
  bootstrap: string
  web: Web
}

/**
 * Pushes an app to two hosts, updates it, and has one of the hosts die and come back.
 *
 * @throws UNSUPPORTED_DEPENDENCY
 */
export async function demoApps({ folder, seed, bootstrap, web }: Stage, lifetime: Lifetime) {
  if (process.platform !== 'linux') {
    throw SeaportError.UNSUPPORTED_DEPENDENCY('apps are run on Linux only, so is this demo of them')
  }
  const { Apps } = await import('../lib/index.js')
  const seedFile = join(folder, 'seed')
  await writeFile(seedFile, toHex(seed), { mode: 0o600 })
  const hosts = HOSTS.map((name) => {
    const flags = ['--registrySeed', `@${seedFile}`, '--bootstrap', bootstrap]
    return lifetime.own(new DemoHost(name, [...flags, '--dir', join(folder, name)]))
  })
  await Promise.all(hosts.map((host) => host.start()))
  for (const { name } of hosts) console.log(`a host               ${name}`)
  const apps = lifetime.own(Apps({ seed, bootstrap, dir: join(folder, 'apps') }))
  await apps.setup()

  const at = join(folder, APP)
  await mkdir(at)
  await writeFile(join(at, 'server.js'), SERVER)
  for (const [version, does] of [
    ['1.0.0', 'is pushed, and runs on both hosts'],
    ['2.0.0', 'takes its place, one instance after the other']
  ] as const) {
    console.log(`\n${APP}@${version} ${does}:`)
    const file = { name: APP, version, command: ['node', 'server.js'], instances: INSTANCES }
    const terms = { hostnames: [HOSTNAME], update: { steady: '1s' } }
    await writeFile(join(at, 'hyperseaport.app.json'), JSON.stringify({ ...file, ...terms }))
    await apps.run(at, (text) => console.log(`  ${text}`))
    await atRest(apps, HOSTS, lifetime)
    await ask(web, version, lifetime)
  }

  const [victim, survivor] = hosts as [DemoHost, DemoHost]
  console.log(
    `\n${victim.name} is killed with all that it runs. Seconds later, all is on ${survivor.name}:`
  )
  const { instances } = await apps.running(APP)
  const lost = instances.filter(({ hostName }) => hostName === victim.name)
  await victim.crash(lost.flatMap(({ pid }) => pid ?? []))
  await atRest(apps, [survivor.name], lifetime)
  await ask(web, survivor.name, lifetime)

  console.log(`\n${victim.name} is started again, and takes back what it ran:`)
  await victim.start()
  await atRest(apps, HOSTS, lifetime)
  await ask(web, '2.0.0', lifetime)
}

/** Prints what changes, until as many instances as are wanted pass, and these hosts have them. */
async function atRest(apps: Apps, names: string[], lifetime: Lifetime) {
  let shown = ''
  while (!lifetime.stopped) {
    const { current, instances, passing, isPreparing } = await apps.status(APP)
    const lines = instances.map(
      ({ hostName, slot, version, state }) => `${APP}/${slot} on ${hostName}: ${version} ${state}`
    )
    const text = lines.sort().join(', ')
    if (text !== shown && text !== '') console.log(`  ${text}`)
    shown = text
    const arePassing = instances.every(
      ({ hash, state }) => hash === current.release && state === 'passing'
    )
    const having = new Set(instances.map(({ hostName }) => hostName))
    const areThere = having.size === names.length && names.every((name) => having.has(name))
    const areEnough = passing === INSTANCES && instances.length === INSTANCES
    if (arePassing && areThere && areEnough && !isPreparing) return
    await changed(apps)
  }
}

/** Asks at the gateway, which hears of changes a moment later, until somebody answers that has the word. */
async function ask({ port }: Web, word: string, lifetime: Lifetime) {
  while (!lifetime.stopped) {
    const answer = await get(port)
    if (answer.includes(word)) {
      return console.log(`  curl -H 'Host: ${HOSTNAME}' http://127.0.0.1:${port}/\n    ${answer}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function get(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host: HOSTNAME, connection: 'close' }
    const asked = request({ port, host: '127.0.0.1', headers })
    asked.on('error', reject)
    asked.on('response', async (response) => {
      let text = ''
      for await (const piece of response) text += piece
      resolve(text.trim())
    })
    asked.end()
  })
}
