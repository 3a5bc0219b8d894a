import t from 'tap'
import { clientOf } from '../../lib/gateway/client-address.js'

t.test('a request counts for its connection, or for whom a trusted proxy names', async (t) => {
  const isTrusted = (address: string) => address === '127.0.0.1' || address === '10.0.0.1'
  const of = (remoteAddress: string, ...forwarded: string[]) => {
    const rawHeaders = forwarded.flatMap((value) => ['X-Forwarded-For', value])
    return clientOf({ socket: { remoteAddress }, rawHeaders } as never, isTrusted)
  }
  t.equal(of('192.0.2.1', '198.51.100.1'), '192.0.2.1', 'a stranger says what it likes')
  t.equal(of('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(of('127.0.0.1'), '127.0.0.1')
  t.equal(of('127.0.0.1', '198.51.100.1'), '198.51.100.1')
  t.equal(of('127.0.0.1', '1.1.1.1, 198.51.100.1', '10.0.0.1'), '198.51.100.1')
  t.equal(of('127.0.0.1', 'unknown'), '127.0.0.1')
  for (const [named, client] of [
    ['198.51.100.1:50000', '198.51.100.1'],
    ['[::ffff:198.51.100.1]:50000', '198.51.100.1'],
    ['[2001:db8:0:1::1]:50000', '2001:db8:0:1'],
    ['[2001:db8:0:1::1]', '2001:db8:0:1'],
    ['198.51.100.1:', '127.0.0.1'],
    ['198.51.100.1:50000:1', '127.0.0.1']
  ] as const) {
    t.equal(of('127.0.0.1', named), client, `${named} has a port`)
  }
  for (const mapped of ['::ffff:198.51.100.1', '::FFFF:c633:6401', '0:0:0:0:0:ffff:198.51.100.1']) {
    t.equal(of('127.0.0.1', mapped), '198.51.100.1', `${mapped} is an address of IPv4`)
  }
  t.equal(of('127.0.0.1', '198.51.100.1, ::ffff:10.0.0.1'), '198.51.100.1')
  t.not(of('127.0.0.1', '::ffff:198.51.100.1'), of('127.0.0.1', '::ffff:198.51.100.2'))
  t.equal(of('2001:db8:0:1::1'), of('2001:db8::1:2:3:4:5'), 'one network is one client')
  t.not(of('2001:db8:0:1::1'), of('2001:db8:0:2::1'))
})
