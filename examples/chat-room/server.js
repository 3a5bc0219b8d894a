// A chat room for browsers, behind as many gateways as there are.
//
//   node server.js <registryPublicKey> <gateway> [gateway …]

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { KeyPair, Service } from 'hyperseaport'

const [registryPublicKey, ...gateways] = process.argv.slice(2)
const bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP

const page = await readFile(new URL('index.html', import.meta.url))
const server = createServer((request, response) => {
  const isList = request.url?.endsWith('/gateways')
  response.setHeader('Content-Type', isList ? 'application/json' : 'text/html; charset=utf-8')
  response.end(isList ? JSON.stringify(gateways) : page)
})
const chat = Service({
  registryPublicKey,
  role: 'chat@1.0.0',
  server,
  keyPair: KeyPair(),
  bootstrap
})

chat.clients.on('connect', ({ token }) => {
  if (typeof token !== 'string' || !/^\w{1,20}$/.test(token)) throw new Error('who are you?')
  return { id: token }
})
// Who is in a room hears who comes and goes.
chat.clients.allow('presence')
chat.clients.on('message', (data, client, type) => {
  if (type === 'enter') {
    client.join(data.room)
    return chat.clients.list({ room: data.room }).filter(({ sessions }) => sessions > 0)
  }
  if (!client.rooms.has(data.room)) throw new Error('enter the room first')
  const { room, text } = data
  chat.clients.broadcast('said', { room, from: client.id, text: String(text) }, { room })
})

await chat.setup()
console.log(`the room is open at ${gateways[0]}/role/chat@1.x/`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => chat.destroy())
