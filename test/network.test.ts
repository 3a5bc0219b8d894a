import t from 'tap'
import type { SecretStream } from '../lib/holepunch.js'
import { KeyPair } from '../lib/keys.js'
import { Testbed } from './testbed.js'

/** HyperDHT takes 4 s to give up an address at which nobody is any more. */
const TOO_LONG_MS = 2000

t.test('a key that moved to another process is found there at once', async (t) => {
  const testbed = await Testbed.make(t)
  const near = await testbed.network()
  const service = KeyPair()
  // All at once, so that none has the port of another.
  const hosts = [await testbed.network(), await testbed.network(), await testbed.network()]
  for (const [moves, far] of hosts.entries()) {
    await far.dht.createServer({}).listen(service)
    const beganAt = performance.now()
    const connection = near.connect(service.publicKey, KeyPair())
    const closed = new Promise((resolve) => connection.on('close', resolve))
    await connected(connection)
    t.ok(performance.now() - beganAt < TOO_LONG_MS, `after ${moves} moves`)
    await far.close()
    await closed
  }
})

t.test(
  'a process takes part in more registries than it has fingers, without a warning',
  async (t) => {
    const testbed = await Testbed.make(t)
    const network = await testbed.network()
    const warnings: Error[] = []
    const onwarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onwarning)
    t.teardown(() => process.off('warning', onwarning))
    for (let i = 0; i < 11; i++) {
      const swarm = network.swarm(KeyPair())
      testbed.teardown(() => swarm.destroy())
    }
    // Node tells of warnings in the next turn.
    await new Promise(setImmediate)
    t.strictSame(warnings, [])
  }
)

function connected(connection: SecretStream): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.on('connect', resolve)
    connection.on('error', reject)
  })
}
