import { once } from 'node:events'
import t from 'tap'
import { isAcknowledged } from '../../lib/core/acknowledged.js'
import { Link } from '../../lib/link/link.js'
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

t.test('a link is cut where its way is gone, and kept where it is not', async (t) => {
  const far = await FarPair.make(t)
  const { initiator, responder } = far.connect()
  const [near, other] = [new Link(initiator), new Link(responder)]
  await Promise.all([near.connected(), other.connected()])
  await near.cutIfStranded()
  t.ok(near.isConnected)
  far.relay.cut()
  const closed = once(near, 'close')
  await near.cutIfStranded()
  const [reason] = await closed
  t.match(reason, { code: 'LINK_LOST', message: /ended with our address/ })
  other.destroy()
})
