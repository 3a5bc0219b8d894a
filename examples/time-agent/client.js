// Asks an agent for the time, listens to it for five seconds, and stops it.
//
//   node client.js <registryPublicKey> [bootstrap]

import { Consumer } from 'hyperseaport'

const [registryPublicKey, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] = process.argv.slice(2)

// Without local ports: it is talked to, and no bytes are passed.
const consumer = Consumer(['agent@1.x'], { registryPublicKey, bootstrap, listen: false })
const [agent] = await consumer.setup()

const fetchCommand = await agent.send('fetch')
console.log('fetchCommand', fetchCommand)

agent.events.on('FETCHED_TIME', (data) => {
  console.log('FETCHED_TIME', data)
})
await agent.events.ready()

const sendCommand = await agent.send('start')
console.log('sendCommand', sendCommand)

// wait 5 seconds
await new Promise((resolve) => {
  setTimeout(resolve, 5000)
})

const stopCommand = await agent.send('stop')
console.log('stopCommand', stopCommand)

await consumer.destroy()
