import { once } from 'node:events'
import t from 'tap'
import { isAcknowledged } from '../../lib/core/acknowledged.js'
import { FarPair } from '../link/far-pair.js'

t.test('what is sent arrives, or the way is gone', async (t) => {
  const far = await FarPair.make(t)
  const { initiator, responder } = far.connect()
  await Promise.all([once(initiator, 'connect'), once(responder, 'connect')])
  t.equal(await isAcknowledged(initiator), true)
  far.relay.cut()
  t.equal(await isAcknowledged(initiator, 200), false)
  initiator.destroy()
  responder.destroy()
  t.equal(await isAcknowledged(initiator, 200), false, 'what is closed carries nothing')
})
