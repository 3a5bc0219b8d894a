import t from 'tap'
import { TrustedProxies } from '../../lib/gateway/trusted-proxies.js'

t.test('proxies are trusted by address or by network, and those on loopback always', (t) => {
  const proxies = new TrustedProxies(['10.0.0.0/8', '192.0.2.7', 'fd00::/8', '2001:db8::1'])
  const trusted = ['127.0.0.1', '127.9.9.9', '::1', '10.1.2.3', '192.0.2.7', 'fd12::1%eth0']
  for (const address of [...trusted, '2001:db8::1']) t.ok(proxies.has(address), address)
  for (const address of ['11.0.0.1', '192.0.2.8', 'fe80::1', '2001:db8::2', '', 'localhost']) {
    t.notOk(proxies.has(address), address)
  }
  t.end()
})

t.test('what is no address is refused, and not passed by', (t) => {
  const texts = [
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0',
    'proxy.example',
    '10.0.0.1:80',
    '10.0.0.0/',
    '',
    '10.0.0.0/8/8',
    'fe80::1%eth0'
  ]
  for (const text of texts) {
    t.throws(() => new TrustedProxies([text]), { code: 'USAGE' }, text)
  }
  t.end()
})
