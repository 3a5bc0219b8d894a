import { once } from 'node:events'
import t from 'tap'
import { Link } from '../../lib/link/link.js'
import { cutStranded } from '../../lib/link/stranded.js'
import { FarPair } from './far-pair.js'

t.test('a link is cut where its way is gone, and kept where it is not', async (t) => {
  const far = await FarPair.make(t)
  const { initiator, responder } = far.connect()
  const [near, other] = [new Link(initiator), new Link(responder)]
  await Promise.all([near.connected(), other.connected()])
  await cutStranded([near])
  t.ok(near.isConnected)
  far.relay.cut()
  const closed = once(near, 'close')
  await cutStranded([near])
  const [reason] = await closed
  t.match(reason, { code: 'LINK_LOST', message: /ended with the address/ })
  other.destroy()
})
