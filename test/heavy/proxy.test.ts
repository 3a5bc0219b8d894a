import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import t from 'tap'
import type { Running } from '../bin/cli.js'
import { registryOf } from '../bin/island.js'

const MEBIBYTE = 2 ** 20
const BULK_BYTES = 512 * MEBIBYTE
const CROWD = 1000
/** 85 after the start; V8 lets 32 MiB of buffers wait for a collection, and those of 256 KiB leave gaps. */
const MAX_RSS_MIB = 180

for (const direct of ['lan', 'off']) {
  t.test(
    `half a gigabyte each way, and a thousand connections, with --direct ${direct}`,
    async (t) => {
      const { cli, start } = await registryOf(t)
      const backend = createServer({ allowHalfOpen: true }, (socket) =>
        socket.on('error', () => {}).pipe(socket)
      )
      backend.listen(0, '127.0.0.1')
      await once(backend, 'listening')
      t.teardown(() => backend.close())
      const echo = `${(backend.address() as AddressInfo).port}`
      const service = cli.start(['service', '-p', echo, '-r', 'echo@1.0.0', '--direct', direct])
      await service.waitForLine('registered service')
      const { proxy, port } = await start.proxy('echo@1.x')

      t.ok(await echoes(port, BULK_BYTES), 'what came back is what was sent')
      const crowd = await Promise.all(Array.from({ length: CROWD }, () => echoes(port, 2)))
      t.ok(crowd.every(Boolean), `${CROWD} connections at once all echo`)
      t.ok(await echoes(port, BULK_BYTES), 'and once more')
      for (const [name, running] of Object.entries({ proxy, service })) {
        t.ok(rss(running) < MAX_RSS_MIB, `${name}: ${rss(running).toFixed(0)} MiB in the end`)
      }
    }
  )
}

/** Sends so many random bytes, shuts that side, and reads to the end. */
async function echoes(port: number, bytes: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  socket.on('data', (data) => received.update(data))
  const ended = once(socket, 'end')
  const chunk = randomBytes(Math.min(bytes, 65_536))
  for (let left = bytes; left > 0; left -= chunk.byteLength) {
    sent.update(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  await ended
  return sent.digest('hex') === received.digest('hex')
}

/** Resident memory, in MiB. */
function rss({ pid }: Running): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}
