// Has jobs done by whichever workers there are. A job is done when its answer stands in the journal, so it is lost
// neither with a worker nor with this program: start it again, and it goes on.
//
//   node producer.js <registryPublicKey> <journal> [bootstrap]

import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { Consumer } from 'hyperseaport'

const [registryPublicKey, journal, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] =
  process.argv.slice(2)
const JOBS = 30
const AT_A_TIME = 6

const consumer = Consumer(['worker@1.x'], { registryPublicKey, bootstrap, listen: false })
const [workers] = await consumer.setup()

// Sent again until it is answered. After `executed: 'perhaps'` it may run twice, so a job has to bear that.
async function run(job) {
  for (;;) {
    try {
      return await workers.send('work', job, { timeout: 30_000 })
    } catch (error) {
      if (error.executed === 'yes') throw error
      if (error.code !== 'BUSY') console.log(`job ${job.id} once more: ${error.code}`)
      await setTimeout(100)
    }
  }
}

const lines = existsSync(journal) ? readFileSync(journal, 'utf8').trim().split('\n') : []
const done = new Set(lines.map((line) => line.split(' ')[0]))
const waiting = Array.from({ length: JOBS }, (_, i) => ({ id: i + 1, ms: 200 })).filter(
  ({ id }) => !done.has(`${id}`)
)

async function takeNext() {
  for (let job = waiting.shift(); job; job = waiting.shift()) {
    const answer = await run(job)
    appendFileSync(journal, `${job.id} ${answer}\n`)
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, takeNext))
console.log(`all ${JOBS} jobs are done`)
await consumer.destroy()
