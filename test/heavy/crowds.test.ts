import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { KeyPair, Registry, Service } from '../../lib/index.js'
import { portOf } from '../gateway/harbor.js'
import { type Call, Outsider } from '../outsider.js'
import { Testbed } from '../testbed.js'

const PROCESSES = 200
const CONSUMERS = 1000
/** Links that are being made at a time. */
const AT_ONCE = 50

t.setTimeout(180_000)

/** A service, and links to it that a foreign client makes from one address. */
class Crowd {
  readonly #outsider: Outsider
  readonly #service: Service

  static async make(t: Test): Promise<Crowd> {
    const testbed = await Testbed.make(t)
    const { bootstrap } = testbed
    const dir = () => testbed.dir()
    const registry = Registry({
      dir: await dir(),
      bootstrap,
      private: false,
      seed: KeyPair().publicKey
    })
    t.teardown(() => registry.destroy())
    await registry.setup()
    const backend = createServer((socket) => socket.on('error', () => {}).pipe(socket))
    backend.listen(0, '127.0.0.1')
    await once(backend, 'listening')
    t.teardown(() => backend.close())
    const service = Service({
      registryPublicKey: registry.registryPublicKey,
      bootstrap,
      dir: await dir(),
      role: 'echo@1.0.0',
      port: portOf(backend as never)
    })
    t.teardown(() => service.destroy())
    await service.setup()
    return new Crowd(new Outsider(testbed, registry.publicKey), service)
  }

  private constructor(outsider: Outsider, service: Service) {
    this.#outsider = outsider
    this.#service = service
  }

  /** Each opens a link and a stream on it, which stay; so does one more when all are there. */
  async serves(t: Test, keyPairs: KeyPair[]) {
    const calls: Call[] = []
    const lost = new Set<Call>()
    const left = [...keyPairs]
    const outcomes: string[] = []
    const dial = async (keyPair: KeyPair) => {
      const [address = ''] = this.#service.record?.direct ?? []
      const call = this.#outsider.connectDirectly(address, this.#service.publicKey, keyPair)
      void call.closed.then(() => lost.add(call))
      calls.push(call)
      outcomes.push(await call.outcome)
    }
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let next = left.pop(); next; next = left.pop()) await dial(next)
      })
    )
    await dial(KeyPair())
    t.equal(outcomes.filter((outcome) => outcome === 'yes').length, keyPairs.length + 1)
    t.equal(lost.size, 0, 'and none gave way to another')
  }
}

t.test('all of two hundred processes of one key are served at a time', async (t) => {
  const crowd = await Crowd.make(t)
  const keyPair = KeyPair()
  await crowd.serves(
    t,
    Array.from({ length: PROCESSES }, () => keyPair)
  )
})

t.test('all of a thousand consumers of one address are served at a time', async (t) => {
  const crowd = await Crowd.make(t)
  await crowd.serves(
    t,
    Array.from({ length: CONSUMERS }, () => KeyPair())
  )
})
