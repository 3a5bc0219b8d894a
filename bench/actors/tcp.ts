import { connect, type Socket } from 'node:net'

/** Connects; rejects when it is refused or cut before. */
export function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}

/** Connects, sends one byte, waits for it to come back, and hangs up. Returns how long that took, in ms. */
export async function echo(port: number): Promise<number> {
  const start = performance.now()
  const socket = await open(port)
  socket.write('E')
  await answer(socket)
  const took = performance.now() - start
  socket.end()
  return took
}

/** The next bytes that come. Rejects when none do. */
export function answer(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const onclose = () => reject(new Error('the connection was closed without an answer'))
    socket.once('close', onclose)
    socket.once('end', onclose)
    socket.once('data', (data) => {
      socket.off('close', onclose)
      socket.off('end', onclose)
      resolve(data)
    })
  })
}

/** Says what an actor has found out. Its process may end when this has resolved, and not before. */
export function report(result: unknown): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(`report=${JSON.stringify(result)}\n`, () => resolve())
  })
}
