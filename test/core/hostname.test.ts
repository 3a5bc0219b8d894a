import t from 'tap'
import { hostnameOf, isOwnable, isOwnName } from '../../lib/core/hostname.js'

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
