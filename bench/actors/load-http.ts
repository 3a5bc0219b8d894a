/**
 * HTTP clients, where wrk is missing. Arguments: port, clients, seconds, `keep` or `close`.
 * Reports requests per second and errors.
 */
import { Agent, get } from 'node:http'
import { report } from './tcp.js'

const [port = '', clients = '', seconds = '', connection = ''] = process.argv.slice(2)
const agent = new Agent({ keepAlive: connection === 'keep', maxSockets: Number(clients) })
const start = performance.now()
const end = start + Number(seconds) * 1000
let requests = 0
let errors = 0

function request(): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: Number(port), agent }
    get(options, (response) => {
      response.resume()
      response.once('end', resolve)
      response.once('error', reject)
    }).once('error', reject)
  })
}

async function client() {
  while (performance.now() < end) {
    await request().then(
      () => requests++,
      () => errors++
    )
  }
}

await Promise.all(Array.from({ length: Number(clients) }, client))
report({ rate: (requests / (performance.now() - start)) * 1000, errors })
process.exit()
