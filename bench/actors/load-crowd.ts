/**
 * Opens connections all at once, and takes the time until a byte came back on the last one.
 * Arguments: port, connections, rounds. Reports the time of each round in ms; the first is to warm up.
 */
import { setTimeout as after } from 'node:timers/promises'
import { echo, report } from './tcp.js'

const [port = 0, connections = 100, rounds = 5] = process.argv.slice(2).map(Number)
const PAUSE_MS = 100

const times: number[] = []
let errors = 0
for (let round = 0; round <= rounds; round++) {
  const start = performance.now()
  const outcomes = await Promise.allSettled(Array.from({ length: connections }, () => echo(port)))
  errors += outcomes.filter(({ status }) => status === 'rejected').length
  if (round > 0) times.push(performance.now() - start)
  await after(PAUSE_MS)
}
await report({ times, errors })
process.exit()
