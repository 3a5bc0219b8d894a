import { once } from 'node:events'
import { connect } from 'node:net'
import { duplexPair } from 'node:stream'
import t, { type Test } from 'tap'
import { SeaportError } from '../lib/core/errors.js'
import { KeyPair, toHex } from '../lib/core/keys.js'
import { Dialer } from '../lib/dialing/dialer.js'
import { Acceptor } from '../lib/link/acceptor.js'
import { LinkPool } from '../lib/link/pool.js'
import { TcpProxy } from '../lib/proxy/tcp-proxy.js'
import { readAll } from './link/pair.js'
import { Testbed } from './testbed.js'

t.test('a client of the proxy reaches the newest instance, and only that', async (t) => {
  const { ask, start } = await harbour(t)
  await start('old', '1.0.0')
  await start('new', '2.0.0')
  t.same([await ask(), await ask()], ['new', 'new'])
})

t.test('an instance whose backend is down is passed over', async (t) => {
  const { ask, start, dialer } = await harbour(t)
  await start('old', '1.0.0')
  await start('new', '2.0.0', { isDown: true })
  t.equal(await ask(), 'old')
  t.match(dialer.stats, { dialed: 1, failedAttempts: 1 })
})

t.test('an instance that has gone is passed over, and found again when it is back', async (t) => {
  const { ask, start } = await harbour(t)
  const keyPair = KeyPair()
  await start('old', '1.0.0')
  const gone = await start('new', '2.0.0', { keyPair })
  t.equal(await ask(), 'new')
  await gone.close()
  t.equal(await ask(), 'old')
  await start('back', '2.0.0', { keyPair })
  t.equal(await ask(), 'back')
})

t.test(
  'with no instance left the client is reset, and the proxy says what became of each',
  async (t) => {
    const { ask, start, proxy } = await harbour(t)
    await start('only', '1.0.0', { isDown: true })
    const refused = once(proxy, 'refused')
    await t.rejects(ask(), { code: 'ECONNRESET' })
    const [error] = await refused
    t.match(error, { code: 'NO_INSTANCE', message: /greeter@1\.0\.0 .*BACKEND_UNREACHABLE/ })
  }
)

/** A proxy, and as many instances as are started, each on a DHT node of its own. */
async function harbour(t: Test) {
  const testbed = await Testbed.make(t)
  const near = await testbed.network()
  const instances = new Map<string, { servicePublicKey: string; role: string; version: string }>()
  const pool = new LinkPool({ connect: (key) => near.dht.connect(key) })
  const dialer = new Dialer({
    role: 'greeter@*',
    resolve: () => [...instances.values()].sort((a, b) => (a.version < b.version ? 1 : -1)),
    pool,
    mode: 'first'
  })
  const proxy = new TcpProxy({ dial: (options) => dialer.dial(options) })
  await proxy.setup()
  t.teardown(async () => {
    await proxy.destroy()
    await pool.close()
  })

  const start = async (
    name: string,
    version: string,
    { isDown = false, keyPair = KeyPair() }: { isDown?: boolean; keyPair?: KeyPair } = {}
  ) => {
    const far = await testbed.network()
    const connect = async () => {
      if (isDown) throw SeaportError.BACKEND_UNREACHABLE('it is down')
      const [backend, greeter] = duplexPair()
      greeter.resume()
      greeter.end(name)
      return backend
    }
    const acceptor = new Acceptor({ dht: far.dht, keyPair, connect })
    t.teardown(() => acceptor.close())
    await acceptor.ready()
    const servicePublicKey = toHex(keyPair.publicKey)
    instances.set(servicePublicKey, { servicePublicKey, role: 'greeter', version })
    return acceptor
  }

  const ask = async (): Promise<string> => {
    const socket = connect({ port: proxy.port, host: '127.0.0.1' })
    t.teardown(() => socket.destroy())
    socket.end('hello')
    return String(await readAll(socket))
  }
  return { ask, start, dialer, proxy }
}
