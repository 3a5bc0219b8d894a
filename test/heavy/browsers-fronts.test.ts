import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../../lib/serving/local-port.js'
import { blocksOf } from '../docs/pages.js'
import { certify, noOpenssl } from '../openssl.js'
import { noApache, startApache } from './apache.js'
import { noChromium } from './chromium.js'
import { codeOfStranger, converse, outliveGateways, STRANGER, threeTabs } from './conversation.js'
import { Hosts, noHosts } from './hosts.js'
import { noNginx, startNginx } from './nginx.js'
import { Plaza } from './plaza.js'
import { noServer } from './servers.js'

const PAGE = 'docs/browsers.md'
const NAME = 'chat.example.com'
const FLAGS = [
  `--host-resolver-rules=MAP ${NAME} 127.0.0.1, MAP ${STRANGER} 127.0.0.1`,
  '--ignore-certificate-errors'
]
const FRONTS = {
  nginx: { skip: noNginx, start: startNginx },
  apache: { skip: noApache, start: startApache }
}
const PORT = 8080
const SERVER = `http.createServer((_, answer) => answer.end('ok')).listen(${PORT}, '0.0.0.0', () => console.log('ready'))`

t.setTimeout(300_000)

for (const [name, { skip, start }] of Object.entries(FRONTS)) {
  t.test(
    `behind ${name}, as the page has it, browsers talk and outlive each gateway`,
    { skip: noChromium || noOpenssl || skip },
    async (t) => {
      const plaza = await Plaza.make(t, { web: { open: ['chat@1.x'] }, flags: FLAGS })
      const [port, dir] = [await freePort(0), await plaza.dir()]
      const [certificate, key] = [join(dir, 'certificate'), join(dir, 'key')]
      certify(NAME, certificate, key)
      const [first, second] = plaza.gateways
      const settings = textOf(name)
        .replace('127.0.0.1:8080', `127.0.0.1:${first?.port}`)
        .replace('127.0.0.1:8081', `127.0.0.1:${second?.port}`)
        .replace('listen 443', `listen 127.0.0.1:${port}`)
        .replace('*:443', `127.0.0.1:${port}`)
        .replace(`/etc/ssl/certs/${NAME}.crt`, certificate)
        .replace(`/etc/ssl/private/${NAME}.pem`, key)
      await start(t, dir, port, settings)
      const site = `https://${NAME}:${port}/`
      await converse(t, plaza, [site, site])
      await outliveGateways(t, plaza, await threeTabs(plaza, site, site))
      t.equal(await codeOfStranger(t, plaza, site), 4003, 'the service refuses a stranger')
    }
  )
}

t.test(
  'the rules for iptables leave the port to the machine itself',
  { skip: noHosts || noServer('iptables') },
  async (t) => {
    const hosts = new Hosts(t)
    const inside = hosts.add('inside', '10.79.0.1')
    const outside = hosts.add('outside', '10.79.0.2')
    const [program = '', ...args] = [...inside, process.execPath, '-e', SERVER]
    const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(server, 'exit')
    t.teardown(async () => {
      server.kill('SIGKILL')
      await ended
    })
    await once(server.stdout, 'data')
    const ask = ([program = '', ...args]: string[], host: string) =>
      spawnSync(program, [...args, 'curl', '-s', '-m', '2', `http://${host}:${PORT}/`], {
        encoding: 'utf8'
      }).stdout
    t.equal(ask(outside, '10.79.0.1'), 'ok', 'before the rules')
    for (const line of textOf('sh').split('\n')) {
      execFileSync(inside[0] ?? '', [
        ...inside.slice(1),
        'sh',
        '-c',
        `PATH=$PATH:/usr/sbin ${line}`
      ])
    }
    t.equal(ask(outside, '10.79.0.1'), '', 'from elsewhere')
    t.equal(ask(inside, '127.0.0.1'), 'ok', 'from the machine itself')
  }
)

function textOf(language: string): string {
  const block = blocksOf(PAGE).find((block) => block.language === language)
  return block?.lines.join('\n') ?? ''
}
