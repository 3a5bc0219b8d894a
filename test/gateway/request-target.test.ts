import t from 'tap'
import { hostOf, isHost, pathOf } from '../../lib/gateway/request-target.js'
import type { RequestHead } from '../../lib/http/message-head.js'

function head(
  url: string,
  headers: Record<string, string> = {},
  socket: object = { localAddress: '127.0.0.1', localPort: 8777 }
): RequestHead {
  return { url, headers, socket } as unknown as RequestHead
}

t.test('a path is asked for as it stands, in a whole URL, or not at all', async (t) => {
  const paths = {
    '/a/b?c=/d': '/a/b?c=/d',
    '*': '/',
    'http://host': '/',
    'http://host/a?b': '/a?b',
    'HTTPS://host:1?b': '/?b'
  }
  for (const [url, path] of Object.entries(paths)) t.equal(pathOf(head(url)), path, url)
  for (const url of ['a/b', 'host:80', 'ftp://host/a', '']) {
    t.throws(() => pathOf(head(url)), { code: 'BAD_REQUEST' }, url)
  }
})

t.test('a whole URL names the host, then the authority, then Host, then the address', async (t) => {
  const fields = { ':authority': 'authority:1', host: 'field:2' }
  t.equal(hostOf(head('http://url:3/a', fields)), 'url:3')
  t.equal(hostOf(head('http://user:word@url/a', fields)), 'url', 'a password is not part of it')
  t.equal(hostOf(head('/a', fields)), 'authority:1')
  t.equal(hostOf(head('/a', { host: 'field:2' })), 'field:2')
  t.equal(hostOf(head('http:///a', { host: 'field:2' })), 'field:2', 'an empty one names nobody')
  t.equal(hostOf(head('/a')), '127.0.0.1:8777')
  const mapped = { localAddress: '::ffff:10.0.0.1', localPort: 80 }
  t.equal(hostOf(head('/a', {}, mapped)), '10.0.0.1:80')
  t.equal(hostOf(head('/a', {}, { localAddress: 'fe80::1%eth0', localPort: 80 })), '[fe80::1]:80')
  t.equal(hostOf(head('/a', {}, {})), 'localhost')
})

t.test('a host is a name or an address, with or without a port', async (t) => {
  for (const host of ['a', 'a.b:1', '[::1]:80', '10.0.0.1', 'a_b', 'a:']) t.ok(isHost(host), host)
  for (const host of ['', 'a b', 'a/b', 'a@b', '::1', '[a]x', 'a:b', 'a\n'])
    t.notOk(isHost(host), host)
})
