/**
 * Opens connections, some at a time, and echoes a byte on each.
 * Arguments: port, connections, how many at a time. Reports the latencies in ms.
 */
import { echo, report } from './tcp.js'

const [port = 0, connections = 1, width = 1] = process.argv.slice(2).map(Number)
const latencies: number[] = []
let errors = 0
let left = connections

async function client() {
  while (left-- > 0) {
    await echo(port).then(
      (ms) => latencies.push(ms),
      () => errors++
    )
  }
}

await Promise.all(Array.from({ length: width }, client))
await report({ latencies, errors })
process.exit()
