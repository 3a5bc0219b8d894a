/**
 * What stands behind every path. One port speaks all that is measured, so that each row goes over the
 * same link: the first byte says what the client wants.
 *
 * - `E…` echoes everything, this byte too
 * - `U…` reads until the end, and answers with the number of bytes
 * - `D<n>\n` sends so many bytes
 * - `N<ms>\n` says this backend's name after a while, and echoes from then on
 * - anything else is HTTP, answered with as little work as can be, for it shares the machine's cores
 *   with what is measured
 */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import { untilFinished } from '../child.js'

const [name = 'backend'] = process.argv.slice(2)
const CHUNK = Buffer.alloc(64 * 1024, 'hyperseaport')

const [KEPT, CLOSED] = ['keep-alive', 'close'].map((connection) =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\nConnection: ${connection}\r\n\r\nHello, World!\n`
  )
) as [Buffer, Buffer]

const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => {})
  socket.once('data', (first) => {
    const [kind = ''] = first.toString('latin1', 0, 1)
    if (kind === 'E') echo(socket, first)
    else if (kind === 'U') count(socket, first)
    else if (kind === 'D') send(socket, argumentOf(first))
    else if (kind === 'N') void introduce(socket, argumentOf(first))
    else greet(socket, first)
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`port=${(server.address() as AddressInfo).port}`)
})

/** A request without a body comes in one piece from every client here. */
function greet(socket: Socket, first: Buffer) {
  const answer = (request: Buffer) => {
    if (request.includes('Connection: close')) socket.end(CLOSED)
    else socket.write(KEPT)
  }
  answer(first)
  socket.on('data', answer)
  socket.on('end', () => socket.end())
}

function echo(socket: Socket, first: Buffer) {
  socket.write(first)
  socket.pipe(socket)
}

function count(socket: Socket, first: Buffer) {
  let bytes = first.length
  socket.on('data', (chunk) => {
    bytes += chunk.length
  })
  socket.on('end', () => socket.end(`${bytes}\n`))
}

function send(socket: Socket, bytes: number) {
  let left = bytes
  const more = () => {
    while (left > 0) {
      const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK
      left -= chunk.length
      if (!socket.write(chunk)) return
    }
    socket.end()
    socket.off('drain', more)
  }
  socket.on('drain', more)
  more()
}

async function introduce(socket: Socket, ms: number) {
  if (ms > 0) await after(ms)
  if (socket.destroyed) return
  socket.write(`${name}\n`)
  socket.pipe(socket)
}

/** The number of a request, which is small enough to come in one piece. */
function argumentOf(first: Buffer): number {
  return Number.parseInt(first.toString('latin1', 1), 10)
}

await untilFinished()
process.exit()
