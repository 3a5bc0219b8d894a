import type { NetworkInterfaceInfo } from 'node:os'
import t from 'tap'
import {
  type DirectReach,
  dialableAddresses,
  directHosts,
  parseDirectReach
} from '../../../lib/link/direct/address.js'

const MACHINE = interfacesOf({
  lo: ['127.0.0.1', '::1'],
  eth0: ['203.0.113.9', 'fe80::1', '2001:db8::9'],
  wlan0: ['192.168.1.20', '169.254.7.7'],
  docker0: ['172.17.0.1']
})

t.test('a service listens where its reach and its host allow', (t) => {
  const table: [reach: DirectReach, host: string | undefined, expected: string[]][] = [
    ['off', undefined, []],
    ['off', '127.0.0.1', []],
    ['lan', undefined, ['127.0.0.1', '192.168.1.20', '172.17.0.1']],
    ['lan', '0.0.0.0', ['127.0.0.1', '192.168.1.20', '172.17.0.1']],
    ['lan', '127.0.0.1', ['127.0.0.1']],
    ['lan', '192.168.1.20', ['127.0.0.1', '192.168.1.20']],
    ['lan', '203.0.113.9', ['127.0.0.1']],
    ['any', undefined, ['127.0.0.1', '192.168.1.20', '172.17.0.1', '203.0.113.9']],
    ['any', '127.0.0.1', ['127.0.0.1']],
    ['any', '203.0.113.9', ['127.0.0.1', '203.0.113.9']]
  ]
  for (const [reach, host, expected] of table) {
    const hosts = directHosts({ reach, host, interfaces: MACHINE })
    t.same(hosts, expected, `${reach}, ${host ?? 'no host'}`)
  }
  t.end()
})

t.test('a machine of many addresses signs no more than a record takes', (t) => {
  const many = Array.from({ length: 20 }, (_, i) => `10.0.0.${i}`)
  t.equal(directHosts({ reach: 'lan', interfaces: interfacesOf({ lo: many }) }).length, 8)
  t.end()
})

t.test('a consumer dials what its reach allows, the nearest first', (t) => {
  const record = ['203.0.113.9:1', '192.168.1.20:2', '127.0.0.1:3', '10.1.2.3:4', '172.31.0.1:5']
  const ports = (reach: DirectReach) => dialableAddresses(reach, record).map(({ port }) => port)
  t.same(ports('off'), [])
  t.same(ports('lan'), [3, 2, 4, 5])
  t.same(ports('any'), [3, 2, 4, 5, 1])
  t.end()
})

t.test('a consumer dials nothing that is not the address of a host', (t) => {
  const addresses = [
    'evil.example:80',
    'localhost:80',
    '0.0.0.0:80',
    '169.254.169.254:80',
    '224.0.0.1:80',
    '255.255.255.255:80',
    '[::1]:80',
    '::1:80',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '10.0.0.256:80',
    '10.1:80',
    '0x7f.0.0.1:80',
    '010.0.0.1:80',
    ':80',
    ''
  ]
  for (const address of addresses) t.same(dialableAddresses('any', [address]), [], address)
  t.same(dialableAddresses('any', Array(9).fill('10.0.0.1:80')), [{ host: '10.0.0.1', port: 80 }])
  t.end()
})

t.test('a reach is one of three words', (t) => {
  t.equal(parseDirectReach('lan'), 'lan')
  t.throws(() => parseDirectReach('wan'), { code: 'USAGE', message: /off, lan or any/ })
  t.end()
})

function interfacesOf(addresses: Record<string, string[]>): NodeJS.Dict<NetworkInterfaceInfo[]> {
  return Object.fromEntries(
    Object.entries(addresses).map(([name, own]) => [
      name,
      own.map((address) => ({ address }) as NetworkInterfaceInfo)
    ])
  )
}
