import { setTimeout as after } from 'node:timers/promises'
import { Child, run } from '../child.js'
import { freePort } from '../island.js'
import type { Row, Stage } from '../stage.js'
import { KINDS, type Kind } from '../talk/protocols.js'
import { Usage } from '../usage.js'

const SUBSCRIBERS = [1, 10, 100]
const SPEAKING: readonly Kind[] = ['NATS micro', 'hyperseaport, direct', 'hyperseaport, UDX']
export const MESSAGE_BASELINES: readonly Kind[] = [
  'plain TCP',
  'protomux-rpc, TCP',
  'protomux-rpc, UDX',
  'NATS micro'
]
const NATS_SERVER = 'nats-server'

/** Commands and events, beside what is made for nothing else. Each end is a process. */
export const messages: Row = {
  name: 'messages',
  title: 'Commands and events of about 90 bytes of JSON',
  metrics: {
    p50: { title: 'a command, 1 in flight, p50', unit: 'ms', better: 'less' },
    rate: { title: 'commands, 64 in flight', unit: '1/s', better: 'more' },
    ...Object.fromEntries(
      SUBSCRIBERS.map((count) => [
        `events${count}`,
        { title: `events to ${count}, deliveries`, unit: '1/s', better: 'more' as const }
      ])
    ),
    rss: { title: 'RSS of a service that is idle', unit: 'MiB', better: 'less' }
  },

  async run(stage) {
    const { island, options, results } = stage
    const nats = await startNats(stage)
    const kinds = KINDS.filter((kind) => nats || kind !== 'NATS micro')
    const servers = new Map<Kind, { child: Child; at: string }>()
    const where = [island.bootstrap, island.registryPublicKey]
    for (const kind of kinds) {
      const args = [kind, ...where, nats?.url ?? '', island.folder()]
      const child = island.actor('talk-server', args, `server of ${kind}`)
      servers.set(kind, { child, at: await child.waitForLine('at=') })
    }
    const measure = async (kind: Kind, subscribers: number) => {
      const { at } = servers.get(kind) as { at: string }
      const args = [kind, at, ...where, island.folder(), options.seconds, subscribers]
      const client = island.actor('talk-client', args, `client of ${kind}`)
      const values = await client.report<Record<string, number>>()
      await client.ended
      return values
    }
    const record = (kind: Kind, metric: string, value: number | undefined) => {
      const about = messages.metrics[metric]
      if (about && value !== undefined) results.add('messages', kind, metric, value, about)
    }
    await after(options.size.patience * 5000)
    for (const kind of kinds.filter((kind) => kind.startsWith('hyperseaport'))) {
      record(kind, 'rss', new Usage(servers.get(kind)?.child.pid ?? 0).rss)
    }
    for (let round = 0; round < options.runs; round++) {
      for (const kind of kinds) {
        const { p50, rate } = await measure(kind, 0)
        record(kind, 'p50', p50)
        record(kind, 'rate', rate)
      }
      for (const count of SUBSCRIBERS) {
        for (const kind of kinds.filter((kind) => SPEAKING.includes(kind))) {
          record(kind, `events${count}`, (await measure(kind, count)).rate)
        }
      }
    }
    for (const { child } of servers.values()) child.finish()
    await Promise.all([...servers.values()].map(({ child }) => child.ended))
    await nats?.child.stop()
  }
}

/** A broker on loopback, if there is one on this machine. */
async function startNats({ results }: Stage): Promise<{ child: Child; url: string } | null> {
  try {
    await run(NATS_SERVER, ['-v'])
  } catch {
    results.skipped.push({ row: 'messages', path: 'NATS micro', reason: 'there is no nats-server' })
    results.note('NATS micro is skipped: there is no nats-server (apt-get install nats-server)')
    return null
  }
  const port = await freePort()
  const child = new Child(NATS_SERVER, ['-a', '127.0.0.1', '-p', `${port}`], { name: NATS_SERVER })
  await new Promise<void>((resolve) => {
    child.onLine((line) => line.includes('Server is ready') && resolve())
  })
  return { child, url: `127.0.0.1:${port}` }
}
