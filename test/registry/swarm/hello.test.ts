import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import type { SecretStream } from '../../../lib/core/holepunch.js'
import { isPrintable } from '../../../lib/core/printable.js'
import { exchangeHello, turnAway } from '../../../lib/registry/swarm/hello.js'
import { Line, settled } from '../../fuzz/line.js'
import { secretPair } from '../../link/pair.js'

const REGISTRY = Buffer.alloc(32, 3)
const DENIED = 2

interface Outcome {
  reason: SeaportError
  byRemote: boolean
}

/** Says hello at one end of a connection, and tells what comes of it. */
function greet(line: Line, admit: (credentials: Buffer) => void = () => {}) {
  const outcomes: (Outcome | 'hello')[] = []
  exchangeHello(line.stream, REGISTRY, {
    admit,
    onhello: () => outcomes.push('hello'),
    ondenied: (reason, byRemote) => outcomes.push({ reason, byRemote })
  })
  return outcomes
}

async function quiet() {
  for (let i = 0; i < 10; i++) await settled()
}

t.test('two who know the registry let each other in', async (t) => {
  const [caller, called] = Line.pair()
  const outcomes = [greet(caller), greet(called)]
  await quiet()
  t.same(outcomes, [['hello'], ['hello']])
})

t.test('a denial counts for nothing before the hello of who denies', async (t) => {
  const [caller, stranger] = Line.pair()
  const outcomes = greet(caller)
  stranger.write(Buffer.concat([Buffer.of(DENIED), Buffer.from('NOT_GRANTED: run this: \x1b[2J')]))
  await quiet()
  t.equal(outcomes.length, 1)
  const { reason, byRemote } = outcomes[0] as Outcome
  t.equal(byRemote, false, 'it is a stranger that we turn down')
  t.equal(reason.code, 'NOT_A_MEMBER')
  t.notMatch(reason.message, 'run this')
})

t.test('a member’s denial counts, and is printable', async (t) => {
  const [caller, called] = Line.pair()
  const outcomes = greet(caller)
  greet(called, () => {
    throw SeaportError.remote('NOT_GRANTED', 'not you')
  })
  await quiet()
  const { reason, byRemote } = outcomes[0] as Outcome
  t.equal(byRemote, true)
  t.equal(reason.message, 'NOT_GRANTED: not you')

  const [other, rude] = Line.pair()
  const heard = greet(other)
  turnAway(rude.stream, REGISTRY, SeaportError.LIMIT_REACHED('enough'))
  await quiet()
  t.match(
    heard,
    [{ byRemote: true, reason: { code: 'LIMIT_REACHED' } }],
    'who is turned away at once, too'
  )
  t.ok(isPrintable((heard[0] as Outcome).reason.message))
})

t.test(
  'until the hellos are through, a message of some size is cut off when it is announced',
  async (t) => {
    const { initiator: victim, responder: stranger } = secretPair(t)
    await Promise.all([stranger.opened, victim.opened])
    exchangeHello(victim, REGISTRY, { onhello: () => {}, ondenied: () => {} })
    const [error] = await Promise.all([
      once(victim, 'error').then(([error]) => error),
      say(stranger, Buffer.from([0, 0, 1, 7])).then(() => say(stranger, Buffer.alloc(10)))
    ])
    t.match(error, { code: 'BAD_MESSAGE', message: /65536 bytes was announced/ })
  }
)

/** Writes to the wire of a connection what the connection would not. */
function say({ rawStream }: SecretStream, bytes: Buffer): Promise<void> {
  const wire = rawStream as unknown as Duplex
  return new Promise((resolve) => wire.write(bytes, () => setImmediate(resolve)))
}
