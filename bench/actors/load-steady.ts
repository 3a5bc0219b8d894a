/**
 * New connections at a steady rate, whatever becomes of those before, until stdin ends; and some that
 * stay open all the time. Arguments: port, connections per second, open ones. Says `loaded` when those
 * are open. Reports each request as [start in ms, ms, error or null], and who held the open ones and
 * whether they live.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { answer, open, report } from './tcp.js'

const [port = 0, rate = 200, holding = 20] = process.argv.slice(2).map(Number)
/** How long the backend takes for an answer, so that some are always open. */
const WORK_MS = 10
const REQUEST_TIMEOUT_MS = 30_000

interface Held {
  socket: Socket
  name: string
}

const requests: [start: number, took: number, error: string | null][] = []
const pending = new Set<Promise<void>>()
const held = await Promise.all(Array.from({ length: holding }, hold))
let isOver = false
process.stdin.resume()
process.stdin.once('close', () => {
  isOver = true
})
console.log('loaded')
await load()
await Promise.all(pending)
const outcome = await Promise.all(
  held.map(async (one) => ({ name: one.name, lives: await lives(one) }))
)
await report({ requests, held: outcome })
process.exit()

async function load() {
  const start = Date.now()
  for (let count = 0; !isOver; ) {
    for (; count < ((Date.now() - start) / 1000) * rate; count++) {
      const one = request().finally(() => pending.delete(one))
      pending.add(one)
    }
    await once(AbortSignal.timeout(1000 / rate), 'abort')
  }
}

async function request() {
  const start = Date.now()
  const began = performance.now()
  let error: string | null = null
  try {
    await exchange()
  } catch (reason) {
    error = (reason as Error).message
  }
  requests.push([start, performance.now() - began, error])
}

async function exchange() {
  const socket = await open(port)
  socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy())
  socket.write(`N${WORK_MS}\n`)
  await answer(socket)
  socket.end()
}

async function hold(): Promise<Held> {
  const socket = await open(port)
  socket.write('N0\n')
  return { socket, name: (await answer(socket)).toString().trim() }
}

async function lives({ socket }: Held): Promise<boolean> {
  if (socket.destroyed) return false
  socket.setTimeout(1000, () => socket.destroy())
  socket.write('x')
  return answer(socket).then(
    () => true,
    () => false
  )
}
