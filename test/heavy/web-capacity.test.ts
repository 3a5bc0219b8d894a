import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { Cli, type Running } from '../bin/cli.js'
import { portOf } from '../gateway/harbor.js'
import { start } from './fixtures/child.js'
import type { CrowdReport } from './fixtures/crowd.js'

const WEBSOCKETS = 10_000
const REQUESTS = 1_000_000
const STAGES = 10
const MIB = 2 ** 20

/** A backend in this process, and a service and a gateway before it, each a process of its own. */
async function gateway(t: Test) {
  const cli = new Cli(t)
  await cli.island()
  cli.seed()
  const backend = createServer((_request, response) => response.end('hello'))
  new WebSocketServer({ server: backend }).on('connection', (socket) => {
    socket.on('message', (data) => socket.send(String(data)))
  })
  backend.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
  await once(backend, 'listening')
  t.teardown(() => {
    backend.closeAllConnections()
    backend.close()
  })
  const registry = cli.start(['registry', '--dir', cli.path('registry')])
  await registry.waitForLine('registryPublicKey=')
  const args = ['-p', `${portOf(backend)}`, '-r', 'api@1.0.0', '--dir', cli.path('service')]
  await cli.start(['service', ...args]).waitForLine('registered service')
  // Its inspector is asked what it holds; it is the real binary in all else.
  const nodeFlags = ['--inspect=127.0.0.1:0']
  const web = cli.start(['web', '-p', '0', '--dir', cli.path('web')], { nodeFlags })
  const port = Number(await web.waitForLine('web server listening on port '))
  return { web, port, inspector: await Inspector.of(t, web) }
}

/** What another process of Node tells about itself. */
class Inspector {
  readonly #socket: WebSocket
  readonly #pid: number
  #calls = 0

  private constructor(socket: WebSocket, pid: number) {
    this.#socket = socket
    this.#pid = pid
  }

  static async of(t: Test, running: Running): Promise<Inspector> {
    const url = await running.waitForTalk('Debugger listening on ')
    const socket = new WebSocket(url)
    t.teardown(() => socket.terminate())
    await once(socket, 'open')
    return new Inspector(socket, running.pid)
  }

  /** What its heap holds when all that can go has gone, in MiB. */
  async held(): Promise<number> {
    for (let i = 0; i < 2; i++) await this.#call('HeapProfiler.collectGarbage')
    const { usedSize } = (await this.#call('Runtime.getHeapUsage')) as { usedSize: number }
    return usedSize / MIB
  }

  /** Resident memory, in MiB. */
  get rss(): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  }

  async #call(method: string): Promise<unknown> {
    const id = ++this.#calls
    this.#socket.send(JSON.stringify({ id, method }))
    for (;;) {
      const answer = JSON.parse(String((await once(this.#socket, 'message'))[0]))
      if (answer.id === id) return answer.result
    }
  }
}

t.test(
  `${WEBSOCKETS} WebSockets are open at once in one gateway, and each is answered`,
  async (t) => {
    const { port, inspector } = await gateway(t)
    const before = { rss: inspector.rss, held: await inspector.held() }
    const crowd = await start(t, './crowd.js', [`${port}`, '/role/api@1.x/'])
    const opened = await crowd.ask<CrowdReport>('open', WEBSOCKETS)
    t.strictSame([opened.open, opened.failures], [WEBSOCKETS, []])
    for (let round = 0; round < 3; round++) {
      const { answered, failures } = await crowd.ask<CrowdReport>('ping')
      t.strictSame([answered, failures], [WEBSOCKETS, []])
    }
    const held = await inspector.held()
    const each = ((inspector.rss - before.rss) * 1024) / WEBSOCKETS
    t.comment(
      `${opened.ms} ms to open; gateway: ${before.rss.toFixed(0)} MiB with none, ${inspector.rss.toFixed(0)} MiB with all, ${each.toFixed(1)} KiB each`
    )
    t.ok(each < 64, 'some KiB each')
    await crowd.ask('close')
    let after = held
    while (after > before.held + 5) after = await inspector.held()
    t.comment(`heap, MiB: ${[before.held, held, after].map((mib) => mib.toFixed(1)).join(' ')}`)
  }
)

t.test(
  `a gateway holds no more after ${REQUESTS} requests than after a tenth of them`,
  async (t) => {
    const { port, inspector } = await gateway(t)
    const crowd = await start(t, './crowd.js', [`${port}`, '/role/api@1.x/'])
    const held: number[] = []
    const resident: number[] = []
    for (let stage = 0; stage < STAGES; stage++) {
      const { failures } = await crowd.ask<CrowdReport>('request', REQUESTS / STAGES)
      t.strictSame(failures, [])
      resident.push(inspector.rss)
      held.push(await inspector.held())
    }
    t.comment(`heap after collections, MiB: ${held.map((mib) => mib.toFixed(2)).join(' ')}`)
    t.comment(`resident before them, MiB: ${resident.map((mib) => mib.toFixed(0)).join(' ')}`)
    const [first = 0, last = 0] = [held[0], held.at(-1)]
    t.ok(last - first < 1, `${first} MiB after a tenth, ${last} MiB after all`)
  }
)
