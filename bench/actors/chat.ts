/**
 * A service with pages, that tells them all something each second. Arguments: kind, bootstrap, registry's public key,
 * folder. It is told `begin`, `end` and `flood` by lines.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Service } from '../../lib/index.js'
import { socketIo } from '../browsers/socket-io.js'
import { monotonic } from './monotonic.js'

const INTERVAL_MS = 1000
const TEXT = 'x'.repeat(60)
const FLOOD_BYTES = 64 * 1024
const FLOOD_INTERVAL_MS = 50

const [kind, bootstrap = '', registryPublicKey = '', dir = ''] = process.argv.slice(2)
const { broadcast, flood } = kind === 'socket.io' ? await ofSocketIo() : await ofSeaport()
let ticker: NodeJS.Timeout | undefined
let flooder: NodeJS.Timeout | undefined
let n = 0

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'begin') ticker = setInterval(tick, INTERVAL_MS)
  if (line === 'end') clearInterval(ticker)
  if (line === 'flood') flooder = setInterval(flood, FLOOD_INTERVAL_MS)
  if (line === 'ebb') clearInterval(flooder)
}
process.exit()

function tick() {
  broadcast({ n: ++n, at: monotonic(), text: TEXT })
}

async function ofSeaport() {
  const service = Service({ registryPublicKey, bootstrap, dir, role: 'chat@1.0.0', commands: {} })
  service.clients.on('connect', ({ token }) => ({ id: String(token) }))
  service.clients.on('presence', ({ id, sessions }) => {
    if (id === 'deaf' && sessions === 0) console.log('cut=')
  })
  await service.setup()
  console.log('port=0')
  return {
    broadcast: (tick: object) => service.clients.broadcast('tick', tick),
    flood: () => void service.clients.direct('deaf', 'much', Buffer.alloc(FLOOD_BYTES))
  }
}

async function ofSocketIo() {
  const http = createServer()
  const io = socketIo(http)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  console.log(`port=${(http.address() as AddressInfo).port}`)
  return { broadcast: (tick: object) => void io.emit('tick', tick), flood: () => {} }
}
