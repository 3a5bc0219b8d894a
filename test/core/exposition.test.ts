import t from 'tap'
import { expose, type Family, formatFor } from '../../lib/core/exposition.js'

const FAMILIES: Family[] = [
  {
    name: 'lost',
    help: 'Lost\nand \\ gone',
    type: 'counter',
    samples: [{ suffix: '', labels: { role: 'a"b\\c' }, value: 3 }]
  },
  {
    name: 'latency_seconds',
    help: 'Until',
    type: 'histogram',
    samples: [
      ...[0.25, 1, 10, Infinity].map((le) => ({
        ...{ suffix: '_bucket' as const, labels: { le }, value: 1 }
      })),
      { suffix: '_sum', labels: {}, value: 0.5 },
      { suffix: '_count', labels: {}, value: 1 }
    ]
  },
  {
    name: 'odd',
    help: 'Odd',
    type: 'gauge',
    samples: [Number.NaN, Infinity, -Infinity].map((value) => ({ suffix: '', labels: {}, value }))
  }
]

t.test('a scraper gets the format that it asks for', async (t) => {
  const plain = [
    undefined,
    '*/*',
    'text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    'application/openmetrics-text;q=0, text/plain',
    'text/plain;q=0.9,application/openmetrics-text;q=0.1',
    'application/openmetrics-text; q=0.4, text/plain',
    'application/openmetrics-text;version=1.0.0;q=0.0,text/plain'
  ]
  for (const accept of plain) t.notOk(formatFor(accept).isOpenMetrics, `${accept}`)
  const open = [
    'application/openmetrics-text',
    'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    'text/plain;q=0.5, application/openmetrics-text; version=1.0.0; q=0.75'
  ]
  for (const accept of open) t.ok(formatFor(accept).isOpenMetrics, accept)
})

t.test('counters end in _total, in each format where it wants it', async (t) => {
  const plain = expose(FAMILIES, formatFor())
  t.match(plain, '# HELP lost_total Lost\\nand \\\\ gone\n# TYPE lost_total counter\n')
  t.match(plain, 'lost_total{role="a\\"b\\\\c"} 3\n')
  t.notMatch(plain, '# EOF')
  const open = expose(FAMILIES, formatFor('application/openmetrics-text'))
  t.match(open, '# TYPE lost counter\nlost_total{role="a\\"b\\\\c"} 3\n')
  t.match(
    open,
    'latency_seconds_bucket{le="+Inf"} 1\nlatency_seconds_sum 0.5\nlatency_seconds_count 1\n'
  )
  t.same(limitsIn(open), ['0.25', '1.0', '10.0', '+Inf'])
  t.same(limitsIn(plain), ['0.25', '1', '10', '+Inf'])
  t.match(open, 'odd NaN\nodd +Inf\nodd -Inf\n# EOF\n')
})

/** The limits of the buckets, as they are written. */
function limitsIn(text: string): string[] {
  return [...text.matchAll(/\ble="(.*?)"/g)].map(([, limit]) => String(limit))
}
