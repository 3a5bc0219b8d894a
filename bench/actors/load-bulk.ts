/**
 * Moves bytes over one connection. Arguments: port, `up` or `down`, bytes. Reports the seconds that
 * took, from the first byte until the other side has, and has said so, or we have the last one.
 */
import { once } from 'node:events'
import { open, report } from './tcp.js'

const [port = '', direction = '', size = ''] = process.argv.slice(2)
const bytes = Number(size)
const CHUNK = Buffer.alloc(64 * 1024, 'Up')

const socket = await open(Number(port))
const start = performance.now()
const received = direction === 'up' ? await send() : await receive()
const seconds = (performance.now() - start) / 1000
if (received !== bytes) throw new Error(`${received} of ${bytes} bytes arrived`)
await report({ seconds })
process.exit()

async function send(): Promise<number> {
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    if (!socket.write(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)) {
      await once(socket, 'drain')
    }
  }
  socket.end()
  let answer = ''
  for await (const chunk of socket) answer += chunk
  return Number(answer)
}

async function receive(): Promise<number> {
  let count = 0
  socket.on('data', (chunk) => {
    count += chunk.length
  })
  socket.write(`D${bytes}\n`)
  await once(socket, 'end')
  return count
}
