import { setTimeout as after } from 'node:timers/promises'
import type { Near } from '../paths/path.js'
import { SeaportPath, seaportDirect, seaportUdx } from '../paths/seaport.js'
import { type Row, record, type Stage } from '../stage.js'
import { loopbackPackets, Usage } from '../usage.js'

/** Consumers are started some at a time. */
const WIDTH = 4
/** Until a start is over: connections made, logs read. */
const SETTLE_MS = 5000
/** Longer than any keep-alive. */
const WATCH_MS = 20_000

interface Reading {
  packets: number
  serviceCpu: number
  consumerCpu: number
}

/** What consumers cost that have connected once and do nothing. Each is a process of its own. */
export const idle: Row = {
  name: 'idle',
  title: 'Idle consumers of one service',
  metrics: metricsOf([0, 1, 10, 100]),

  async run(stage) {
    const { island, options, kinds, backend } = stage
    stage.results.note(
      'Idle: packets on the loopback interface, so of the whole machine; those with no consumer are of the service, the registry and whatever else runs'
    )
    const kind = kinds.includes(seaportDirect) ? seaportDirect : seaportUdx
    const path = await kind.open(island, backend.port)
    if (!(path instanceof SeaportPath)) throw new Error(`${kind.name} has no consumers`)
    const consumers: Near[] = []
    for (const count of [0, ...options.size.consumers]) {
      while (consumers.length < count) {
        const missing = Math.min(WIDTH, count - consumers.length)
        const more = Array.from({ length: missing }, () => connectedConsumer(stage, path))
        consumers.push(...(await Promise.all(more)))
      }
      await after(SETTLE_MS * options.size.patience)
      const values = await watch(stage, path, consumers)
      const named = Object.entries(values).map(([name, value]) => [`${name}${count}`, value])
      record(stage, idle, kind, Object.fromEntries(named))
    }
    await Promise.all(consumers.map((consumer) => consumer.stop()))
    await path.close()
  }
}

async function connectedConsumer({ island }: Stage, path: SeaportPath): Promise<Near> {
  const near = await path.near()
  await island.actor('load-echo', [near.port, 1, 1]).report()
  return near
}

async function watch({ options }: Stage, path: SeaportPath, consumers: Near[]) {
  const service = new Usage(path.far?.pid ?? 0)
  const usages = consumers.map(({ child }) => new Usage(child?.pid ?? 0))
  const read = (): Reading => ({
    packets: loopbackPackets(),
    serviceCpu: service.cpu,
    consumerCpu: usages.reduce((total, { cpu }) => total + cpu, 0)
  })
  const duration = WATCH_MS * options.size.patience
  const before = read()
  await after(duration)
  const now = read()
  const seconds = duration / 1000
  const each = (total: number) => total / Math.max(1, usages.length)
  return {
    packets: (now.packets - before.packets) / seconds,
    serviceCpu: ((now.serviceCpu - before.serviceCpu) / seconds) * 100,
    serviceMemory: service.rss,
    ...(usages.length === 0
      ? {}
      : {
          consumerCpu: each(((now.consumerCpu - before.consumerCpu) / seconds) * 100),
          consumerMemory: each(usages.reduce((total, { rss }) => total + rss, 0))
        })
  }
}

function metricsOf(counts: number[]): Row['metrics'] {
  const metrics = counts.flatMap((count): [string, Row['metrics'][string]][] => [
    [`packets${count}`, { title: `${count}: packets, all`, unit: '1/s', better: 'less' }],
    [`serviceCpu${count}`, { title: `${count}: CPU of the service`, unit: '%', better: 'less' }],
    [
      `serviceMemory${count}`,
      { title: `${count}: RSS of the service`, unit: 'MiB', better: 'less' }
    ],
    [`consumerCpu${count}`, { title: `${count}: CPU of each consumer`, unit: '%', better: 'less' }],
    [
      `consumerMemory${count}`,
      { title: `${count}: RSS of each consumer`, unit: 'MiB', better: 'less' }
    ]
  ])
  return Object.fromEntries(metrics)
}
