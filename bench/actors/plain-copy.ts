/** One plain TCP copy: `plain-copy take PORT ADDRESS` reads all that comes, `plain-copy give BYTES HOST:PORT…` sends it to each. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const [verb, amount = '0', ...targets] = process.argv.slice(2)
const PIECE = Buffer.alloc(64 * 1024, 'hyperseaport')

if (verb === 'take') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.resume()
    socket.on('end', () => socket.end('done'))
  })
  server.listen(Number(amount), targets[0], () => console.log('ready'))
} else {
  await Promise.all(targets.map((target) => give(target, Number(amount))))
  console.log('given')
  process.exit()
}

/** Resolves when the other side has all of it. */
async function give(target: string, bytes: number) {
  const [host = '', port] = target.split(':')
  const socket = connect({ host, port: Number(port), allowHalfOpen: true })
  await once(socket, 'connect')
  for (let left = bytes; left > 0; left -= PIECE.byteLength) {
    const piece = left < PIECE.byteLength ? PIECE.subarray(0, left) : PIECE
    if (!socket.write(piece)) await once(socket, 'drain')
  }
  socket.end()
  await once(socket, 'data')
  socket.destroy()
}
