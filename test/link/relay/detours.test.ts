import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { Detours } from '../../../lib/link/relay/detours.js'

const KEY = 'ab'.repeat(32)

t.test('who could not be met needs a relay, for ten minutes', async (t) => {
  let now = 0
  const detours = new Detours(() => now)
  t.notOk(detours.isNeeded(KEY))
  detours.failed(KEY, SeaportError.LINK_LOST('no', coded('HOLEPUNCH_ABORTED')))
  t.ok(detours.isNeeded(KEY))
  t.equal(detours.failures, 1)
  now = 10 * 60_000 + 1
  t.notOk(detours.isNeeded(KEY))
})

t.test('where nobody is, or nobody wanted it, a relay is no help', async (t) => {
  const detours = new Detours()
  for (const error of [
    SeaportError.LINK_LOST('no', coded('PEER_NOT_FOUND')),
    SeaportError.LINK_LOST('no', coded('PEER_CONNECTION_FAILED')),
    SeaportError.CLOSED('the pool was closed')
  ]) {
    detours.failed(KEY, error)
  }
  t.notOk(detours.isNeeded(KEY))
  t.equal(detours.failures, 0)
})

t.test('no more is remembered than a bound', async (t) => {
  const detours = new Detours()
  for (let i = 0; i < 1025; i++) detours.failed(`${i}`, SeaportError.LINK_LOST('too late'))
  t.notOk(detours.isNeeded('0'))
  t.ok(detours.isNeeded('1'))
  t.ok(detours.isNeeded('1024'))
})

function coded(code: string): Error {
  return Object.assign(new Error(code), { code })
}
