/**
 * How each kind of network meets each other, by hand: `node dist/test/heavy/pairs.js [OPTIONS]`, as root. OPTIONS is
 * JSON: `{"services": […], "consumers": […], "registry": "public", "nodes": 8, "limit": 40000}`. Prints the seconds until the
 * first answer, services across.
 */
import { inspect } from 'node:util'
import type { Child } from './fixtures/child.js'
import { KINDS, type Kind, type Meeting, MeetingPoint, roleOf } from './meeting.js'

const {
  services = KINDS,
  consumers = KINDS,
  limit = 40_000,
  settle = 15_000,
  ...options
} = JSON.parse(process.argv[2] ?? '{}')
const closings: (() => unknown)[] = []
const owner = { teardown: (close: () => unknown) => void closings.unshift(close) }
try {
  await run()
} finally {
  for (const close of closings) await close()
}

async function run() {
  const point = await MeetingPoint.make(owner, options)
  const registered: Record<string, string> = {}
  await Promise.all(
    services.map(async (kind: Kind) => {
      const at = point.place(kind, `s-${kind}`)
      const service = await point.service(at, roleOf(kind))
      const took = await within(settle, service.ask<number>('registered'))
      registered[kind] = seconds(took)
    })
  )
  print('registered after', registered)
  const connected: Record<string, string> = {}
  const asked: [Kind, Child<object>][] = await Promise.all(
    consumers.map(async (kind: Kind) => {
      const at = point.place(kind, `c-${kind}`)
      const consumer = await point.consumer(at, services.map(roleOf))
      connected[kind] = seconds(await within(settle, consumer.ask<number>('connected')))
      return [kind, consumer]
    })
  )
  print('connected after', connected)
  const rows = await Promise.all(
    asked.map(async ([kind, consumer]) => {
      const meetings = await consumer.ask<Meeting[]>('meet', limit)
      return [kind, meetings] as const
    })
  )
  print('registry', await point.registry?.ask('stats'))
  for (const [kind, meetings] of rows) {
    const each = meetings.map(({ role, took, path }) => {
      const way = path === 'dht' || path === null ? '' : ` ${path}`
      return [role.split('@')[0], seconds(took) + way]
    })
    print(`${kind} →`, Object.fromEntries(each))
  }
  for (const [kind, meetings] of rows) {
    for (const { role, took, errors } of meetings) {
      if (took === null || took > 3000) print(`${kind} → ${role}:`, errors.slice(-2))
    }
  }
}

function within<T>(limit: number, promise: Promise<T>): Promise<T | null> {
  return Promise.race([
    promise,
    new Promise<null>((resolve) => setTimeout(resolve, limit, null).unref())
  ])
}

function seconds(ms: number | null): string {
  return ms === null ? '–' : (ms / 1000).toFixed(1)
}

function print(what: string, value: unknown) {
  process.stdout.write(`${what} ${inspect(value, { breakLength: 160 })}\n`)
}
