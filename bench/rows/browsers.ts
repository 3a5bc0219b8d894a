import { setTimeout as sleep } from 'node:timers/promises'
import type { Seen } from '../browsers/crowd.js'
import { socketIoMissing } from '../browsers/socket-io.js'
import type { Child } from '../child.js'
import { freePort, type Island } from '../island.js'
import { type Row, record, type Stage } from '../stage.js'
import { Usage } from '../usage.js'

const SEAPORT = { name: 'hyperseaport' }
const SOCKET_IO = { name: 'socket.io' }
const SECOND_MS = 1000
const WARM_SECONDS = 3
/** How long all of them may take to connect. */
const CONNECT_TIMEOUT_MS = 180_000
const DEAF_TIMEOUT_MS = 60_000
const KIB_PER_MIB = 1024
const US_PER_SECOND = 1e6

/** Many pages at one gateway, that are all told something each second, beside socket.io. */
export const browsers: Row = {
  name: 'browsers',
  title: 'Browsers: a broadcast each second to all pages at one gateway',
  isList: true,
  metrics: {
    sockets: { title: 'pages', unit: '', better: 'more' },
    cpu: { title: 'CPU per delivery, gateway and service', unit: 'µs', better: 'less' },
    gatewayCpu: { title: 'CPU per delivery, gateway', unit: 'µs', better: 'less' },
    p50: { title: 'p50', unit: 'ms', better: 'less' },
    p99: { title: 'p99', unit: 'ms', better: 'less' },
    rss: { title: 'resident each, gateway', unit: 'KiB', better: 'less' },
    serviceRss: { title: 'resident each, service', unit: 'KiB', better: 'less' },
    deafP99: { title: 'p99 while one does not read', unit: 'ms', better: 'less' },
    deafShare: { title: 'that p99, to that without', unit: '×', better: 'less' },
    cut: { title: 'who does not read is cut after', unit: 's', better: 'less' },
    back: { title: 'all are back after the gateway, in', unit: 's', better: 'less' },
    anew: { title: 'of them not resumed', unit: '', better: 'less' },
    missed: { title: 'messages missed', unit: '', better: 'less' },
    twice: { title: 'messages heard twice', unit: '', better: 'less' }
  },

  async run(stage) {
    const missing = socketIoMissing()
    if (missing) stage.results.note(`${SOCKET_IO.name} is skipped: ${missing}`)
    for (let run = 0; run < stage.options.runs; run++) {
      await measureSeaport(stage)
      if (!missing) await measureSocketIo(stage)
    }
  }
}

async function measureSeaport(stage: Stage) {
  const { island, options } = stage
  const { sockets } = options.size
  const service = await chat(island, SEAPORT.name)
  const port = await freePort()
  const start = async () => {
    const args = ['--port', `${port}`, '--sessionsPerAddress', `${2 * sockets}`]
    const gateway = island.seaport('web', [...args, '--dir', island.folder()])
    await gateway.waitForLine('web server listening on port ')
    return gateway
  }
  let gateway = await start()
  const asked = new Asker(island.actor('crowd', [SEAPORT.name, port, sockets]))
  const figures = await load(asked, { servers: [gateway, service], chat: service, stage })
  const { p99 } = figures

  await asked.ask('deaf')
  const beganAt = performance.now()
  service.write('begin\nflood\n')
  await service.waitForLine('cut=', DEAF_TIMEOUT_MS)
  const cut = (performance.now() - beganAt) / SECOND_MS
  await sleep(SECOND_MS)
  service.write('ebb\nend\n')
  await sleep(SECOND_MS)
  const deaf = await asked.ask<Seen>('seen')

  service.write('begin\n')
  await sleep(2 * SECOND_MS)
  const lost = asked.ask('lost')
  await gateway.stop('SIGKILL')
  await lost
  const back = asked.ask('here', CONNECT_TIMEOUT_MS)
  gateway = await start()
  const listeningAt = performance.now()
  await back
  const backIn = (performance.now() - listeningAt) / SECOND_MS
  await sleep(WARM_SECONDS * SECOND_MS)
  service.write('end\n')
  await sleep(2 * SECOND_MS)
  const { missed, twice, anew } = await asked.ask<Seen>('seen')
  record(stage, browsers, SEAPORT as never, {
    ...figures,
    ...{ deafP99: deaf.p99, deafShare: deaf.p99 / p99, cut, back: backIn },
    ...{ anew, missed: missed + figures.missed + deaf.missed, twice: twice + figures.twice }
  })
  // In its own way, so that its profile is written.
  asked.child.signal('SIGKILL')
  await gateway.stop()
  await stopAll(service)
}

async function measureSocketIo(stage: Stage) {
  const { island, options } = stage
  const server = await chat(island, SOCKET_IO.name)
  const port = await server.waitForLine('port=')
  const asked = new Asker(island.actor('crowd', [SOCKET_IO.name, port, options.size.sockets]))
  const figures = await load(asked, { servers: [server], chat: server, stage })
  record(stage, browsers, SOCKET_IO as never, figures)
  await stopAll(asked.child, server)
}

/** All come, and are told something each second. The first of the servers is the one that they connect to. */
async function load(
  asked: Asker,
  { servers, chat, stage }: { servers: Child[]; chat: Child; stage: Stage }
) {
  const { seconds, size } = stage.options
  const { sockets } = size
  const usages = servers.map(({ pid }) => new Usage(pid))
  const before = usages.map(({ rss }) => rss)
  await asked.ask('come', CONNECT_TIMEOUT_MS)
  chat.write('begin\n')
  await sleep(WARM_SECONDS * SECOND_MS)
  const each = usages.map(({ rss }, i) => ((rss - (before[i] ?? 0)) / sockets) * KIB_PER_MIB)
  await asked.ask('seen')
  const cpus = usages.map(({ cpu }) => cpu)
  // Half a second before the next one is told, so that what is under way belongs to one side.
  await sleep(seconds * 2 * SECOND_MS)
  const used = usages.map(({ cpu }, i) => cpu - (cpus[i] ?? 0))
  const { deliveries, p50, p99, missed, twice } = await asked.ask<Seen>('seen')
  chat.write('end\n')
  const perDelivery = (cpu = 0) => (cpu / deliveries) * US_PER_SECOND
  return {
    ...{ sockets, p50, p99, missed, twice },
    cpu: perDelivery(used.reduce((a, b) => a + b, 0)),
    gatewayCpu: perDelivery(used[0]),
    rss: each[0] ?? Number.NaN,
    ...(each[1] !== undefined && { serviceRss: each[1] })
  }
}

async function chat(island: Island, kind: string): Promise<Child> {
  const { bootstrap, registryPublicKey } = island
  const child = island.actor('chat', [kind, bootstrap, registryPublicKey, island.folder()])
  await child.waitForLine('port=')
  return child
}

async function stopAll(...children: Child[]) {
  for (const child of children) await child.stop('SIGKILL')
}

/** Asks an actor by lines. */
class Asker {
  readonly child: Child
  #asked = 0

  constructor(child: Child) {
    this.child = child
  }

  async ask<T>(word: string, timeout?: number): Promise<T> {
    const number = ++this.#asked
    this.child.write(`${word} ${number}\n`)
    return JSON.parse(await this.child.waitForLine(`${number}=`, timeout)) as T
  }
}
