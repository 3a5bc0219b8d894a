import { Child, run } from '../child.js'
import { freePort } from '../island.js'
import type { Row, Stage } from '../stage.js'

const NATS_SERVER = 'nats-server'
const PUTS = { title: 'letters kept, 64 at once', unit: '1/s', better: 'more' } as const
const REPORT_TIMEOUT_MS = 120_000

/** Letters with receipts, and letters that a mailbox keeps, beside what carries or keeps the same bytes. */
export const mail: Row = {
  name: 'mail',
  title: 'Letters of 1 KiB, each with its receipt',
  metrics: {
    p50: { title: 'a letter and its receipt, 1 under way, p50', unit: 'ms', better: 'less' },
    rate: { title: 'letters, 64 under way', unit: '1/s', better: 'more' },
    puts: PUTS
  },

  async run(stage) {
    const { island, options, results } = stage
    const where = [island.bootstrap, island.registryPublicKey]
    const end = (what: string, at = '') => {
      const args = [what, at, ...where, island.folder(), options.seconds]
      return island.actor('mail-end', args, `mail: ${what}`)
    }
    const [reader, server] = [end('reader'), end('bare server')]
    const [key, port] = [await reader.waitForLine('at='), await server.waitForLine('at=')]
    const nats = await startJetStream(stage)
    const measure = async (name: string, what: string, at?: string) => {
      const child = end(what, at)
      const values = await child.report<Record<string, number>>(REPORT_TIMEOUT_MS)
      await child.ended
      for (const [metric, value] of Object.entries(values)) {
        const about = mail.metrics[metric]
        if (about) results.add('mail', name, metric, value, about)
      }
    }
    for (let round = 0; round < options.runs; round++) {
      await measure('letters, direct', 'direct', key)
      await measure('letters, one hop', 'one hop', key)
      await measure('the same bytes on a bare stream', 'bare', port)
      await measure('sign, seal, verify and open alone', 'cryptography')
      await measure('a mailbox', 'mailbox')
      if (nats) await measure('JetStream on file, acknowledged', 'jetstream', nats.url)
    }
    await Promise.all([reader.stop(), server.stop(), nats?.child.stop()])
  }
}

/** A broker that stores on disk, if there is one on this machine. */
async function startJetStream({ island, results }: Stage) {
  const name = 'JetStream on file, acknowledged'
  try {
    await run(NATS_SERVER, ['-v'])
  } catch {
    results.skipped.push({ row: 'mail', path: name, reason: 'there is no nats-server' })
    return null
  }
  const port = await freePort()
  const args = ['-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', island.folder()]
  const child = new Child(NATS_SERVER, args, { name: NATS_SERVER })
  await new Promise<void>((resolve) => {
    child.onLine((line) => line.includes('Server is ready') && resolve())
  })
  return { child, url: `127.0.0.1:${port}` }
}
