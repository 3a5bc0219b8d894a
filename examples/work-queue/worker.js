// A worker: executes one job at a time. Run as many as you like, on one machine or on several.
//
//   node worker.js <registryPublicKey> [bootstrap]

import { setTimeout } from 'node:timers/promises'
import { Service } from 'hyperseaport'

const [registryPublicKey, bootstrap = process.env.HYPERSEAPORT_BOOTSTRAP] = process.argv.slice(2)

async function work(job, { signal }) {
  console.log(`job ${job.id} began`)
  // What takes its time. Whoever asked for it may be gone meanwhile: nobody waits for the answer then.
  await setTimeout(job.ms, null, { signal })
  return job.id * job.id
}

// One runs, one may wait for it; who sends more is told BUSY, and asks another worker.
const worker = Service({
  registryPublicKey,
  bootstrap,
  role: 'worker@1.0.0',
  commands: { work: { concurrency: 1, queue: 1, handler: work } }
})
await worker.setup()

// It leaves when the jobs that it has are done.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => worker.destroy())
console.log(`worker@1.0.0 is registered as ${worker.servicePublicKey}`)
