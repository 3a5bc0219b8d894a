import t from 'tap'
import { hostnameOf, isDnsName, isOwnable, isOwnName } from '../../lib/core/hostname.js'

t.test('a name is read out of Host, and it is known whose it can be', async (t) => {
  t.equal(hostnameOf('API.Example.com.:8080'), 'api.example.com')
  t.equal(hostnameOf('[::1]:80'), '::1')
  t.ok(isOwnName('127.0.0.1') && isOwnName('app.localhost') && isOwnName('::1'))
  t.notOk(isOwnName('example.com'))
  for (const name of ['evil.com', 'localhost.evil.com', '1.evil.co']) t.ok(isOwnable(name), name)
  for (const name of ['', 'gateway', '127.0.0.1', 'api.test', 'app.localhost']) {
    t.notOk(isOwnable(name), name)
  }
})

t.test('a hostname of an app is a name of the DNS in lower case', async (t) => {
  for (const name of ['shop.example.com', 'a', '_acme.a-b.test', 'a'.repeat(63)]) {
    t.ok(isDnsName(name), name)
  }
  for (const name of ['', 'A.test', '*.test', 'a..b', '-a', 'a-', 'a b', 'a'.repeat(64), 1, null]) {
    t.notOk(isDnsName(name), String(name))
  }
})
