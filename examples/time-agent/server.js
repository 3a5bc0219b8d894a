// An agent that fetches the time, and tells it each second once it was started.
//
//   node server.js <registryPublicKey> [bootstrap]

import { KeyPair, Service } from 'hyperseaport'

const [registryPublicKey, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] = process.argv.slice(2)

// No port: all that it does it does by commands and events.
const agent = Service({
  registryPublicKey,
  role: 'agent@1.0.0',
  commands: {},
  keyPair: KeyPair(),
  bootstrap
})

function fetchTime() {
  return { type: 'FETCHED_TIME', payload: Date.now() }
}

let interval

function fetchAndBroadcastTime() {
  const event = fetchTime()
  console.log({ event })
  agent.events.emit(event.type, event.payload)
}

agent.commands.handle('start', () => {
  clearInterval(interval)
  interval = setInterval(fetchAndBroadcastTime, 1000)
})

agent.commands.handle('stop', () => {
  clearInterval(interval)
})

// Whoever called proved its key, so a handler knows who that is.
agent.commands.handle('fetch', async (_data, { peer }) => {
  console.log(`${peer.slice(0, 8)}… asks for the time`)
  return fetchTime()
})

await agent.setup()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    clearInterval(interval)
    await agent.destroy()
  })
}
console.log(`agent@1.0.0 is registered as ${agent.servicePublicKey}`)
