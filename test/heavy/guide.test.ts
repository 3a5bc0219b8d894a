import { once } from 'node:events'
import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { startedByOthers } from '../docs/manifests.js'
import { commandsOf, WALKED_PAGES } from '../docs/pages.js'
import { Walkthrough } from '../docs/walkthrough.js'

/** They need what no test may start or install; `test/docs/manifests.test.ts` looks at what they are given. */
const IS_OF_OTHERS = /^(systemctl|docker|kubectl) /
/** `test/heavy/readme.test.ts` runs it from a clone. */
const IS_PACKING = /^npm pack$/
const REGISTRY = "the registry's machine"

/** What has to be there before a reader comes to a page, and what its placeholders stand for. */
const SETTINGS: Record<string, (walkthrough: Walkthrough, t: Test) => Promise<void>> = {
  'docs/guide/gateway.md': async (walkthrough, t) => {
    await backend(walkthrough, t)
    await registry(walkthrough)
    for (const port of [80, 8777]) await walkthrough.replacePort(port)
    walkthrough.write('', 'password.txt', 'a long enough password\n')
    await walkthrough.runAll(['hyperseaport service --port 5984 --role couchdb@3.2.2'])
    walkthrough.replace('abe2…', walkthrough.said('started p2p service on '))
  },
  'docs/guide/hosting.md': async (walkthrough) => {
    await walkthrough.runAll(["hyperseaport seed --out '.config/hyperseaport'"])
    const seed = `${walkthrough.folder()}/.config/hyperseaport`
    walkthrough.setEnv('HYPERSEAPORT_REGISTRY_SEED', `@${seed}`)
    await registrarThatGoes(walkthrough, '5f2a90c1')
    await walkthrough.replacePort(8777)
    walkthrough.replace('--name attic', '--name attic --stopApps')
  },
  'docs/guide/private-registries.md': async (walkthrough, t) => {
    await backend(walkthrough, t)
    await identity(walkthrough, [REGISTRY, "the service's machine", "the consumer's machine"])
    await walkthrough.replacePort(5985)
  },
  'docs/guide/running.md': async (walkthrough) => {
    await registry(walkthrough)
    await walkthrough.replacePort(9464)
    walkthrough.replace('/etc/hyperseaport', walkthrough.folder(REGISTRY))
  },
  'docs/guide/services.md': async (walkthrough, t) => {
    await backend(walkthrough, t)
    await registry(walkthrough)
    await walkthrough.replacePort(5985)
    const port = await walkthrough.replacePort(49737)
    for (const next of [1, 2, 3]) walkthrough.replace(`${49737 + next}`, `${port + next}`)
    walkthrough.replace('--host 192.168.1.10', `--host 127.0.0.1 --nodes 4 --port ${port}`)
    walkthrough.replace('192.168.1.10', '127.0.0.1')
    walkthrough.write('', 'server.js', SERVER)
  },
  'docs/guide/troubleshooting.md': async (walkthrough) => registry(walkthrough)
}

const SERVER = `
require('node:http').createServer((_, answer) => answer.end('well')).listen(process.env.PORT, '127.0.0.1')
`

for (const page of WALKED_PAGES.filter((page) => page.startsWith('docs/guide/'))) {
  const commands = commandsOf(page).filter(
    ({ text }) => !IS_OF_OTHERS.test(text) && !IS_PACKING.test(text)
  )
  if (commands.length === 0) continue
  t.test(`the commands of ${page} do what it says`, async (t) => {
    const walkthrough = new Walkthrough(t)
    await walkthrough.island()
    const setting = SETTINGS[page]
    if (!setting) throw new Error(`say in SETTINGS what ${page} needs before its first command`)
    await setting(walkthrough, t)
    for (const command of commands) {
      await walkthrough.run(command)
      for (const line of command.prints) walkthrough.learn(line)
    }
  })
}

t.test('what systemd, Docker and Kubernetes start does its work', async (t) => {
  const walkthrough = new Walkthrough(t)
  await walkthrough.island()
  await backend(walkthrough, t)
  await registry(walkthrough)
  await walkthrough.replacePort(5985)
  walkthrough.replace(/\b[0-9a-f]{64}\b/g, walkthrough.said('registryPublicKey='))
  walkthrough.replace('--target couchdb:', '--target 127.0.0.1:')
  walkthrough.replace(/@(%d|\/run\/secrets(\/hyperseaport)?)\/seed/g, '@.config/hyperseaport')
  for (const [index, { words, environment, place }] of startedByOthers().entries()) {
    const dir = `data-${index}`
    const line = words.map((word) => (/^(\/data|\$\{STATE_DIRECTORY\})$/.test(word) ? dir : word))
    // On one machine, a proxy cannot have the port of the backend.
    const text = [...environment, ...line].join(' ').replace('proxy --port 5984', 'proxy --port 0')
    await walkthrough.run({ text, machine: '', prints: [], place })
  }
})

/** An open registry that runs, and its public key in the config file. */
async function registry(walkthrough: Walkthrough) {
  await walkthrough.runAll([
    'hyperseaport seed --out .config/hyperseaport',
    'hyperseaport registry'
  ])
}

/** A registrar that runs, and one that runs no more, whose key the page begins with these digits. */
async function registrarThatGoes(walkthrough: Walkthrough, digits: string) {
  const run = (text: string, machine = '') =>
    walkthrough.run({ text, machine, prints: [], place: 'beforehand:' })
  const elsewhere = 'the one that goes'
  await run('hyperseaport registry --dir gone', elsewhere)
  // Without a statement in its log, nobody would remember it.
  await run(`hyperseaport grant ${toHex(KeyPair().publicKey)} --host`)
  await run('hyperseaport registrars --json')
  walkthrough.replace(digits, walkthrough.said('    "registrarKey": "').slice(0, 64))
  await run('hyperseaport registry')
  // It is stopped for another one.
  await run('hyperseaport registry --dir other', elsewhere)
}

/** The registry's seed on its machine, and its public key on all. */
async function identity(walkthrough: Walkthrough, machines: string[]) {
  await walkthrough.runAll([
    `hyperseaport seed --out '${walkthrough.folder(REGISTRY)}/.config/hyperseaport'`
  ])
  const line = `registryPublicKey=${walkthrough.said('registryPublicKey=')}\n`
  for (const machine of machines) {
    if (machine !== REGISTRY) walkthrough.write(machine, '.config/hyperseaport', line)
  }
}

/** What the pages have listen on port 5984. */
async function backend(walkthrough: Walkthrough, t: Test) {
  const port = await walkthrough.replacePort(5984)
  const server = createServer((_, answer) =>
    answer.end('{"couchdb":"Welcome","version":"3.2.2"}\n')
  )
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
}
