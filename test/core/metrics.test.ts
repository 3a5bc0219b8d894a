import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { Histogram } from '../../lib/core/histogram.js'
import {
  MetricsServer,
  measuresOf,
  measuresOfInstances,
  measuresOfLogs
} from '../../lib/core/metrics.js'

t.test('stats become metrics, with labels, in the format that the scraper asks for', async (t) => {
  const latency = new Histogram()
  latency.observe(30)
  const stats = {
    leases: 2,
    lost: 3,
    nested: { newThing: 4 },
    retries: { retries: 9 },
    list: [1],
    name: 'x'
  }
  const server = new MetricsServer({
    port: 0,
    measures: () => [
      ...measuresOf('registry', stats, { role: 'a"b@1.x' }),
      ...measuresOfLogs([{ logKey: 'ab'.repeat(32), applied: 5, offered: 7, live: true }]),
      // As of a registrar with a gateway, which knows the same log.
      ...measuresOfLogs([{ logKey: 'ab'.repeat(32), applied: 5, offered: 7, live: true }]),
      ...measuresOfInstances([{ status: 'failing' }, { status: 'failing' }]),
      { name: 'latency_seconds', help: 'Until', type: 'histogram', value: latency }
    ]
  })
  t.teardown(() => server.destroy())
  await server.setup()
  const url = `http://127.0.0.1:${server.port}`
  for (let scrape = 0; scrape < 2; scrape++) {
    const response = await fetch(`${url}/metrics?x`, {
      headers: { accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' }
    })
    t.match(response.headers.get('content-type'), /^application\/openmetrics-text; version=1/)
    const text = await response.text()
    t.match(text, '# TYPE hyperseaport_registry_leases gauge\n')
    t.match(text, 'hyperseaport_registry_leases{role="a\\"b@1.x"} 2\n')
    t.match(text, 'hyperseaport_registry_lost_total{role="a\\"b@1.x"} 3\n')
    t.match(text, 'hyperseaport_registry_nested_new_thing{role="a\\"b@1.x"} 4\n')
    t.equal(text.match(/^hyperseaport_log_applied_blocks\{log="abababab"\} 5$/gm)?.length, 1)
    t.match(text, 'hyperseaport_registry_retries{')
    t.match(text, 'hyperseaport_instances{status="failing"} 2\n')
    t.match(text, 'hyperseaport_instances{status="passing"} 0\n')
    t.match(text, 'latency_seconds_bucket{le="0.05"} 1\n')
    t.match(text, /^hyperseaport_build_info\{version="[\d.]+[^"]*",node="[\d.]+"\} 1$/m)
    t.match(text, /^process_resident_memory_bytes \d+/m)
    t.match(text, /# EOF\n$/)
  }
  const plain = await fetch(`${url}/metrics`)
  t.match(plain.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  t.match(await plain.text(), '# TYPE hyperseaport_registry_lost_total counter\n')
  t.equal((await fetch(`${url}/else`)).status, 404)
  for (const [host, status] of [
    [`evil.com:${server.port}`, 404],
    ['localhost.evil.com', 404],
    [`localhost:${server.port}`, 200]
  ] as const) {
    const asking = request({ port: server.port, path: '/metrics', headers: { host } }).end()
    const [answer] = await once(asking, 'response')
    t.equal(answer.resume().statusCode, status, `${host} may be a stranger's name for this machine`)
  }
  const taken = new MetricsServer({ port: server.port, measures: () => [] })
  await t.rejects(taken.setup(), { code: 'PORT_IN_USE' })
  await taken.destroy()
})
