import { once } from 'node:events'
import { readFileSync, renameSync, statSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { get, localHarbor } from '../bin/harbor.js'
import { certify, noOpenssl } from '../openssl.js'
import { restWhile } from '../rest.js'

const PATH = '/role/hello@1.x/'
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

t.test('each kind of credentials reaches what it may, from outside', async (t) => {
  const { cli, web } = await localHarbor(t, (request, response) =>
    response.end(String(request.headers.authorization))
  )
  const file = cli.path('access.txt')
  const access = (args: string[], stdin?: string) =>
    stdin === undefined
      ? cli.ask(['access', '--auth', file, ...args])
      : cli.run(['access', '--auth', file, ...args], { stdin })
  const token = (await access(['--token', 'ci', '--reach', 'hello@1.x'])).stdout.trim()
  const other = (await access(['--token', 'other', '--reach', 'hello@2.x'])).stdout.trim()
  t.equal((await access(['--person', 'ada', '--reach', '*'], 'lovelace\n')).code, 0)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.notMatch(readFileSync(file, 'utf8'), new RegExp(`lovelace|${token}`))
  const { web: gateway, port } = await web('--auth', file)
  const at = `http://127.0.0.1:${port}`
  const ask = async (headers: Record<string, string>) => {
    const { status, text } = await get(at + PATH, headers)
    return status === 200 ? text : status
  }
  t.equal(await ask({}), 401)
  t.equal(await ask({ authorization: 'Bearer wrong' }), 401)
  t.equal(await ask({ authorization: `Bearer ${other}` }), 403)
  t.equal(await ask({ authorization: `Bearer ${token}` }), 'undefined', 'ours ends here')
  t.equal(await ask({ authorization: basic('ada:lovelace') }), 'undefined')
  t.equal(await ask({ authorization: basic('ada:byron') }), 401)
  t.equal(await ask({ authorization: basic('eve:lovelace') }), 401)
  const both = { 'proxy-authorization': `Bearer ${token}`, authorization: 'Bearer theirs' }
  t.equal(await ask(both), 'Bearer theirs', 'and theirs goes on')
  for (const [headers, status] of [
    [{}, 401],
    [{ authorization: `Bearer ${token}` }, 401],
    [{ authorization: basic('ada:lovelace') }, 200]
  ] as const) {
    t.equal((await get(`${at}/metrics`, headers)).status === 200, status === 200)
  }

  t.equal((await access(['--remove', 'ci'])).code, 0)
  process.kill(gateway.pid, 'SIGHUP')
  await gateway.waitForTalk('read the configuration again')
  t.equal(await ask({ authorization: `Bearer ${token}` }), 401, 'taken away')
  t.equal(await ask({ authorization: basic('ada:lovelace') }), 'undefined')
})

t.test(
  'a certificate that was replaced is the next one to be shown',
  { skip: noOpenssl },
  async (t) => {
    const { cli, web } = await localHarbor(t)
    const renew = (name: string, suffix: string) =>
      certify(name, cli.path(`cert${suffix}`), cli.path(`key${suffix}`))
    renew('first.example', '')
    const { port } = await web('--tlsCert', cli.path('cert'), '--tlsKey', cli.path('key'))
    const shown = async () => {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      const { CN } = socket.getPeerCertificate().subject
      // A handshake takes both sides some milliseconds of a CPU.
      await setTimeout(50)
      socket.destroy()
      return CN
    }
    t.equal(await shown(), 'first.example')
    renew('second.example', '.new')
    for (const name of ['key', 'cert']) renameSync(cli.path(`${name}.new`), cli.path(name))
    await restWhile(async () => (await shown()) !== 'second.example')
    t.pass('without a restart')
  }
)
