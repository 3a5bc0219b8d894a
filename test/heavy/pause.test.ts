import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Running } from '../bin/cli.js'
import { registryOf } from '../bin/island.js'

/** As a laptop that nods off, or a debugger that stands still, in ms. */
const NAP_MS = 8000
/** Longer than a link may be silent, which is 10 s. */
const SLEEP_MS = 15_000
/** Within this a registry that missed a service knows of its return, and all who follow it, in ms. */
const MAX_AWAY_MS = 5000

for (const who of ['proxy', 'service'] as const) {
  t.test(`a ${who} that stands still for ${NAP_MS / 1000} s cuts nobody`, async (t) => {
    const { client, pause } = await chain(t)
    const held = await client()
    await pause(who, NAP_MS)
    t.ok(await echoes(held))
  })

  t.test(`a ${who} that slept for ${SLEEP_MS / 1000} s is back by itself`, async (t) => {
    const { client, pause } = await chain(t)
    await client()
    await pause(who, SLEEP_MS)
    const since = performance.now()
    while (!(await client().then(Boolean, () => false))) await setTimeout(50)
    const away = performance.now() - since
    t.ok(away < MAX_AWAY_MS, `after ${away.toFixed(0)} ms`)
  })
}

async function chain(t: Test) {
  const backend = createServer((socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { cli, start } = await registryOf(t)
  const { port: backendPort } = backend.address() as AddressInfo
  const service = cli.start(['service', '-p', `${backendPort}`, '-r', 'echo@1.0.0'])
  await service.waitForLine('registered service')
  const { proxy, port } = await start.proxy('echo@1.x')
  const running: Record<'proxy' | 'service', Running> = { proxy, service }
  return {
    /** A connection that was answered. */
    async client(): Promise<Socket> {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      t.teardown(() => socket.destroy())
      await once(socket, 'connect')
      if (!(await echoes(socket))) throw new Error('closed')
      return socket
    },
    async pause(who: 'proxy' | 'service', ms: number) {
      process.kill(running[who].pid, 'SIGSTOP')
      await setTimeout(ms)
      process.kill(running[who].pid, 'SIGCONT')
    }
  }
}

/** Whether what is sent comes back before the connection closes. */
async function echoes(socket: Socket): Promise<boolean> {
  socket.write('hello')
  const chunk = await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return String(chunk[0]) === 'hello'
}
