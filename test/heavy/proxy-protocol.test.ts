import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { SocketAddress } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { freePort, isListening } from '../../lib/serving/local-port.js'
import { registryOf } from '../bin/island.js'

const POLL_MS = 20
/** What a backend answers with: whom it sees, and where it was called. */
const PROGRAMS: Record<string, (dir: string, port: number) => [config: string, args: string[]]> = {
  haproxy: (dir, port) => [
    `global
  stats timeout 5s
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend main
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst]"
`,
    ['-db', '-f', join(dir, 'config')]
  ],
  nginx: (dir, port) => [
    `daemon off; pid ${dir}/pid; error_log stderr; events {}
http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f;
  uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  server { listen 127.0.0.1:${port} proxy_protocol;
    location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr"; } } }
`,
    ['-c', join(dir, 'config'), '-p', dir]
  ]
}

for (const [program, configOf] of Object.entries(PROGRAMS)) {
  t.test(
    `${program} sees each consumer under an address that is its own, and not this machine`,
    { skip: isInstalled(program) ? false : `${program} is not installed` },
    async (t) => {
      const { cli, start } = await registryOf(t)
      const dir = cli.path('program')
      const port = await freePort(0)
      const [config, args] = configOf(dir, port)
      cli.write('program/config', config)
      await run(t, program, args, port)

      const line = ['service', '-p', `${port}`, '-r', 'web@1.0.0', '--proxyProtocol', 'v2']
      const service = cli.start([...line, '--check', 'http:/', '--dir', cli.path('service')])
      const key = await service.waitForLine('started p2p service on ')
      t.match(await service.waitForLine('registered service '), "status: 'passing'")

      const seen = await Promise.all(
        ['one', 'two'].map(async (name) => {
          const proxy = await start.proxy('web', '--dir', cli.path(name))
          const { stdout } = await cli.run(['key', '--dir', cli.path(name)])
          const [, processKey = ''] = /processPublicKey=(\w+)/.exec(stdout) ?? []
          const answers = [await ask(proxy.port), await ask(proxy.port)]
          for (const [client, , server] of answers) {
            t.equal(client, addressOf(processKey))
            t.equal(server, addressOf(key))
          }
          t.not(answers[0]?.[1], answers[1]?.[1], 'a port for each connection')
          return answers[0]?.[0]
        })
      )
      t.not(seen[0], seen[1])
    }
  )
}

async function ask(port: number): Promise<string[]> {
  const headers = { connection: 'close' }
  return (await (await fetch(`http://127.0.0.1:${port}/`, { headers })).text()).split(' ')
}

/** As programs write it. */
function addressOf(key: string): string {
  const groups = `fd${key.slice(0, 30)}`.match(/.{4}/g) ?? []
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}

/** Runs a program for as long as the test lasts, and waits until it listens. */
async function run(t: Test, program: string, args: string[], port: number) {
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(async () => {
    const hasEnded = once(child, 'exit')
    child.kill('SIGKILL')
    await hasEnded
  })
  while (!(await isListening(port))) await sleep(POLL_MS)
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('which', [program])
    return true
  } catch {
    return false
  }
}
