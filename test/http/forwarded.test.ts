import t from 'tap'
import { type Forwarded, forwardingHeaders, isForwardingField } from '../../lib/http/forwarded.js'

const FRONT: Forwarded = {
  client: '127.0.0.1',
  host: 'example.com',
  proto: 'http',
  prefix: '',
  isTrusted: true
}

function saidOf(forwarded: Partial<Forwarded>, fields: Record<string, string[]>) {
  const headers = forwardingHeaders({ ...FRONT, ...forwarded }, (name) => fields[name] ?? [])
  const pairs = headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []))
  return Object.fromEntries(pairs) as Record<string, string>
}

t.test('what a front says stands in Forwarded and X-Forwarded-* alike', (t) => {
  const nginx = { 'x-forwarded-for': ['2001:db8::1, 10.0.0.9'], 'x-forwarded-proto': ['https'] }
  t.strictSame(saidOf({}, nginx), {
    Forwarded:
      'for="[2001:db8::1]";proto=https, for=10.0.0.9, for=127.0.0.1;host=example.com;proto=https',
    'X-Forwarded-For': '2001:db8::1, 10.0.0.9, 127.0.0.1',
    'X-Forwarded-Host': 'example.com',
    'X-Forwarded-Proto': 'https'
  })
  const standard = { forwarded: ['For="[2001:db8::1]:99";HOST="a.example:8";proto=https, for=_x'] }
  t.strictSame(saidOf({ prefix: '/role/api' }, standard), {
    Forwarded:
      'For="[2001:db8::1]:99";HOST="a.example:8";proto=https, for=_x, for=127.0.0.1;host="a.example:8";proto=https',
    'X-Forwarded-For': '2001:db8::1, _x, 127.0.0.1',
    'X-Forwarded-Host': 'a.example:8',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Prefix': '/role/api'
  })
  // A front that sets X-Forwarded-* passes on what the client says in Forwarded.
  const spoofed = { ...nginx, forwarded: ['for=6.6.6.6;proto=ftp'] }
  t.strictSame(saidOf({}, spoofed), saidOf({}, nginx))
  t.end()
})

t.test('what a stranger says counts for nothing, however it is written', (t) => {
  const fields = {
    forwarded: ['for=6.6.6.6'],
    'x-forwarded-for': ['6.6.6.6'],
    'x-forwarded-host': ['evil'],
    'x-forwarded-proto': ['ftp'],
    'x-forwarded-prefix': ['/evil']
  }
  const heard = saidOf({ client: '10.0.0.7', isTrusted: false, prefix: '/a' }, fields)
  t.strictSame(heard, {
    Forwarded: 'for=10.0.0.7;host=example.com;proto=http',
    'X-Forwarded-For': '10.0.0.7',
    'X-Forwarded-Host': 'example.com',
    'X-Forwarded-Proto': 'http',
    'X-Forwarded-Prefix': '/a'
  })
  const variants = ['x_forwarded_for', 'x-forwarded_proto', 'x.forwarded.host', 'x_real_ip']
  for (const name of variants) {
    t.ok(isForwardingField(name, false), name)
    t.ok(isForwardingField(name, true), `${name}, which no proxy writes`)
  }
  for (const name of ['x-real-ip', 'x-forwarded-port', 'x-forwarded-user']) {
    t.ok(isForwardingField(name, false), name)
    t.notOk(isForwardingField(name, true), `${name} of a trusted proxy`)
  }
  for (const name of ['x-forward', 'host', 'x-real-ip-too']) {
    t.notOk(isForwardingField(name, false), name)
  }
  t.end()
})
