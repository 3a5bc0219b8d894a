import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { limitFrames } from '../../lib/core/frame-limit.js'
import { secretPair } from '../link/pair.js'

t.test(
  'a message that is longer than it may be cuts the connection when it is announced',
  async (t) => {
    const { victim, wire } = await encrypted(t)
    limitFrames(victim, 1000)
    const closed = new Promise((resolve) => victim.on('close', resolve))
    const [error] = await Promise.all([
      once(victim, 'error').then(([error]) => error),
      // 16 MiB are announced, and two small pieces of them come.
      wire(Buffer.from([0xff, 0xff, 0xff, 1])).then(() => wire(Buffer.alloc(10)))
    ])
    t.match(error, { code: 'BAD_MESSAGE', message: /16777215 bytes was announced/ })
    await closed
  }
)

t.test(
  'a message that is too long is thrown away once, in however many pieces it comes',
  async (t) => {
    const { victim, wire } = await encrypted(t)
    limitFrames(victim, 1000)
    victim.on('error', () => {})
    const listeners = victim.listenerCount('close')
    await wire(Buffer.from([0, 0, 16]))
    for (let piece = 0; piece < 20; piece++) await wire(Buffer.alloc(1000))
    t.equal(victim.listenerCount('close'), listeners + 1)
  }
)

t.test(
  'the limit of messages can be raised, and what is within it gets through in pieces',
  async (t) => {
    const { victim, peer } = await encrypted(t)
    limitFrames(victim, 1000)
    limitFrames(victim, 300_000)
    victim.resume()
    peer.write(Buffer.alloc(300_000, 'x'))
    const [message] = (await once(victim, 'data')) as [Buffer]
    t.equal(message.byteLength, 300_000)
  }
)

/** A connection, its other end, and a way to write to its wire what that end would not. */
async function encrypted(t: Test) {
  const { initiator: peer, responder: victim } = secretPair(t)
  await Promise.all([victim.opened, peer.opened])
  const raw = peer.rawStream as unknown as Duplex
  const wire = (bytes: Buffer) =>
    new Promise<void>((resolve) => raw.write(bytes, () => setImmediate(resolve)))
  return { victim, peer, wire }
}
