import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { randomSeed, toHex } from '../../../lib/core/keys.js'
import { ConnectionGate } from '../../../lib/registry/swarm/connection-gate.js'
import { DEFAULT_LIMITS } from '../../../lib/registry/swarm/limits.js'

t.test('a gate forgets, and remembers no more than it can', (t) => {
  let time = 0
  const gate = new ConnectionGate({ ...DEFAULT_LIMITS, memory: 1000 }, () => time)
  for (let i = 0; i < 3; i++) gate.report('a', SeaportError.NOT_A_MEMBER(''))
  for (let i = 0; i < 9; i++) gate.report('b', SeaportError.NOT_GRANTED(''))
  t.ok(gate.isBarred('a'))
  t.notOk(gate.isBarred('b'), 'it may be granted something any moment')
  time += 1001
  t.notOk(gate.isBarred('a'))
  for (let i = 0; i < 10_000; i++) gate.report(toHex(randomSeed()), SeaportError.BAD_MESSAGE(''))
  t.equal(gate.offenders, 4096)
  t.end()
})

t.test('an address has so many connections at once, and room again when one leaves', (t) => {
  const gate = new ConnectionGate({ ...DEFAULT_LIMITS, connectionsPerAddress: 2 })
  const leave = gate.admit('10.0.0.1')
  gate.admit('10.0.0.1')
  t.throws(() => gate.admit('10.0.0.1'), { code: 'LIMIT_REACHED' })
  gate.admit('10.0.0.2')
  leave()
  gate.admit('10.0.0.1')
  t.throws(() => gate.admit('10.0.0.1'), { code: 'LIMIT_REACHED' })
  t.end()
})
