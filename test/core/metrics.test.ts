import t from 'tap'
import { MetricsServer, measuresOf, measuresOfLogs } from '../../lib/core/metrics.js'

t.test('stats become OpenMetrics, with labels, and end as they should', async (t) => {
  const stats = { leases: 2, lost: 3, nested: { newThing: 4 }, list: [1], name: 'x' }
  const server = new MetricsServer({
    port: 0,
    measures: () => [
      ...measuresOf('registry', stats, { role: 'a"b@1.x' }),
      ...measuresOfLogs([{ logKey: 'ab'.repeat(32), applied: 5, offered: 7, live: true }])
    ]
  })
  t.teardown(() => server.destroy())
  await server.setup()
  const url = `http://127.0.0.1:${server.port}`
  for (let scrape = 0; scrape < 2; scrape++) {
    const response = await fetch(`${url}/metrics?x`)
    t.match(response.headers.get('content-type'), /^application\/openmetrics-text; version=1/)
    const text = await response.text()
    t.match(text, '# TYPE hyperseaport_registry_leases gauge\n')
    t.match(text, 'hyperseaport_registry_leases{role="a\\"b@1.x"} 2\n')
    t.match(text, 'hyperseaport_registry_lost_total{role="a\\"b@1.x"} 3\n')
    t.match(text, 'hyperseaport_registry_nested_new_thing{role="a\\"b@1.x"} 4\n')
    t.match(text, 'hyperseaport_log_applied_blocks{log="abababab"} 5\n')
    t.match(text, /^process_resident_memory_bytes \d+/m)
    t.match(text, /# EOF\n$/)
  }
  t.equal((await fetch(`${url}/else`)).status, 404)
  const taken = new MetricsServer({ port: server.port, measures: () => [] })
  await t.rejects(taken.setup(), { code: 'PORT_IN_USE' })
  await taken.destroy()
})
