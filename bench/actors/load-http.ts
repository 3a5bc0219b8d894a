/**
 * HTTP clients, where wrk is missing. Arguments: port, path, clients, seconds, `keep` or `close`.
 * Reports requests per second, errors, and how long requests took.
 */
import { Agent, get } from 'node:http'
import { percentile } from '../statistics.js'
import { report } from './tcp.js'

const [port = '', path = '/', clients = '', seconds = '', connection = ''] = process.argv.slice(2)
const agent = new Agent({ keepAlive: connection === 'keep', maxSockets: Number(clients) })
const start = performance.now()
const end = start + Number(seconds) * 1000
const times: number[] = []
let errors = 0

function request(): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: Number(port), path, agent }
    get(options, (response) => {
      response.resume()
      response.once('end', resolve)
      response.once('error', reject)
    }).once('error', reject)
  })
}

async function client() {
  for (let now = performance.now(); now < end; now = performance.now()) {
    await request().then(
      () => times.push(performance.now() - now),
      () => errors++
    )
  }
}

await Promise.all(Array.from({ length: Number(clients) }, client))
const rate = (times.length / (performance.now() - start)) * 1000
await report({ rate, errors, p50: percentile(times, 0.5), p99: percentile(times, 0.99) })
process.exit()
